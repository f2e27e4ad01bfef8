"""Flash's GraphQL API as values: the documents sent, the replies read, the outcomes told apart. No I/O."""
