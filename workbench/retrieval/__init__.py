"""Which works of an artist fit a picture: one reader, descriptors, embeddings, indices, regions, clusters, familiarity."""
