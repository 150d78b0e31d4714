"""Graph convolution, link prediction, and the parameters of hubs."""
