"""HPCR and the methods it is compared with, as strategies of the shared loop."""
