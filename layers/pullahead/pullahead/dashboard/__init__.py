"""The table of mirrors as a page: what is shown, in which order, and how it looks. Pure: text in, HTML out."""
