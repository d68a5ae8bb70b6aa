"""CRECL: continual relation extraction by prototypes and contrastive learning over BERT."""
