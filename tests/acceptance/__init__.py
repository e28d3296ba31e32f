"""Tests against a real Airflow's own processes."""
