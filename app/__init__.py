"""moetune: plan, run and tune Mixture-of-Experts models on unlike devices."""
