"""What this machine is: facts only, no judgement and no UI."""
