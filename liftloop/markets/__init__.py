"""Markets: simulated worlds with a known truth, to prove the loop against."""
