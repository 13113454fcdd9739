"""Who signed an image, and what is attested of it: proof by what upstream keeps beside it, without any other network.

`verify_image` needs the packages `sigstore` and `cryptography`, which the other functions' layer does not have.
"""
