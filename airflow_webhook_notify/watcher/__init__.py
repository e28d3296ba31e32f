"""What turns state changes in the metadata database into events for subscribed webhooks.

Invariant: it only reads Airflow's tables, never waits for them on Airflow's threads, and what it hands over is in
the outbox before its mark passes it.
"""
