"""Ad platforms: one protocol, connectors, and the policies around all of them."""
