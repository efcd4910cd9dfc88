"""What tests with whole gateways are made of: sockets in namespaces, a tap, flows, gateways to be mistreated."""
