"""The data contract: columns, plan, what lies where, shards and the manifest."""
