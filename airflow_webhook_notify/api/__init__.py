"""What this package serves on Airflow's API server.

Invariant: imported by the API server alone; Airflow mounts a plugin's app without any authentication, so every
route here names its own.
"""
