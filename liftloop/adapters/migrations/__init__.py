"""The ledger's migrations, run by :func:`liftloop.adapters.ledger.upgrade`, without alembic.ini."""
