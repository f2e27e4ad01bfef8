"""The part of Flash's GraphQL schema that a Lightning driver can meet."""
