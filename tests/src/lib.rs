//! What the tests share: packet builders, namespaces, the corpus.
