"""Names of weights -> files -> tensors -> a network with weights."""
