"""The durable tables of deliveries and attempts, in Airflow's metadata database.

Invariant: only processes that have the database (API server, relay, watcher, CLI) import what is in here besides
`records`, which imports no SQLAlchemy.
"""
