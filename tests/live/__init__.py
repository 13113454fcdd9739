"""The live suite: checks each fact about AWS on which the code relies, in a sandbox account or in the local AWS."""
