"""Skip-gram embeddings whose rows are rarely touched."""
