"""The hot path: keys, scripts, micro-batching lanes and the store on Redis or Valkey."""
