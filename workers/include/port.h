/* The kinds of ports, as the worker opens them. */
#ifndef XS_PORT_H
#define XS_PORT_H

#include "internal.h"

int xs_port_xsk_open(struct xs_port *port);
int xs_port_xsk_add_queue(struct xs_worker *w, struct xs_port *port, const struct xs_queue_conf *conf);
void xs_port_xsk_adopt(struct xs_worker *w,
                       struct xs_port *port); /* before the sweep: what is in rings is not in hand */
uint32_t xs_port_xsk_producer(const struct xs_port *port, uint32_t transit_kind, uint32_t queue);

int xs_port_memory_open(struct xs_port *port);

#endif
