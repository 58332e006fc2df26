"""Video to transcript on AWS: a state machine, its functions, and the template that deploys them."""
