"""The sections of a page, each from what a folder holds to the blocks it shows."""
