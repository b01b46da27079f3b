"""The solver: pure functions from a machine, a model and a workload to a plan. No I/O, clock or randomness."""
