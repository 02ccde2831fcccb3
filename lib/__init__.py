"""GreenBits: how few bits, weights and joules does a neural network need?"""

import os

# Two OpenMP threads that spin on two busy cores stop each other; this must be set before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
