"""The loop as a service on one machine: ``liftloop up`` and ``liftloop down``."""
