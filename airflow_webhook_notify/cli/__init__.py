"""The commands of `airflow webhooks`.

Invariant: standard output holds the answer alone, errors are one line on standard error, and neither ever shows a
signing secret (save a new one, once), an Authorization value, or a URL's path.
"""
