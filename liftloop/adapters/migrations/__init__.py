"""The ledger's migrations, run by :func:`liftloop.adapters.ledger.records.upgrade`, without
alembic.ini."""
