"""The shell that meets the network: the XDP door, AF_XDP sockets, the nft fence, routes and neighbours."""
