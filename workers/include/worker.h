/* The worker: owns its rings, SAs, policies and routes, one thread, no locks on any of them. Python calls these per
 * message or per run; packets never leave C. Functions that can fail return 0 or a negative errno. */
#ifndef XS_WORKER_H
#define XS_WORKER_H

#include "conf.h"

struct xs_worker;

struct xs_worker *xs_worker_new(const struct xs_worker_conf *conf);
void xs_worker_free(struct xs_worker *w); /* wipes every key */

int xs_worker_add_port(struct xs_worker *w, const struct xs_port_conf *conf);
int xs_worker_add_queue(struct xs_worker *w, const struct xs_queue_conf *conf);
/* After the last queue and before the first breath: takes back what a predecessor that died left in hand. */
int xs_worker_start(struct xs_worker *w);

/* SAs. Install copies the keys; the caller wipes its own copy. An SA that is installed twice is refused (-EEXIST). */
int xs_sa_install(struct xs_worker *w, const struct xs_sa_conf *conf);
int xs_sa_remove(struct xs_worker *w, uint32_t slot);
int xs_sa_use(struct xs_worker *w, uint32_t child,
              uint32_t slot); /* outbound traffic of child takes this SA from now on */
/* Other outer addresses and UDP ports, 0 = none (RFC 4555); numbers, keys and window stay. */
int xs_sa_move(struct xs_worker *w, uint32_t slot, const struct xs_addr *local, const struct xs_addr *remote,
               uint16_t encap_local, uint16_t encap_remote);
int xs_sa_grant(struct xs_worker *w, uint32_t slot, uint64_t mark);
int xs_sa_path_mtu(struct xs_worker *w, uint32_t child, uint32_t mtu);
/* The engine behind a choice (enum xs_engine_choice) when it proved its known answers here; NULL: absent or refused. */
const char *xs_engine_proved(uint8_t choice);
const char *xs_sa_engine(struct xs_worker *w, uint32_t slot); /* name of the serving engine, NULL = no such SA */

/* Tables are replaced whole and take effect between two bursts. */
int xs_policy_replace(struct xs_worker *w, const struct xs_policy *rows, uint32_t count);
/* The rows come before all others, in place of those that `child` has; none: it has none. */
int xs_policy_first(struct xs_worker *w, uint32_t child, const struct xs_policy *rows, uint32_t count);
int xs_route_replace(struct xs_worker *w, const struct xs_route *rows, uint32_t count);
int xs_neighbour_set(struct xs_worker *w, const struct xs_neighbour *n);
int xs_neighbour_remove(struct xs_worker *w, uint8_t port, const struct xs_addr *addr);

/* Breathes until Python is wanted: XS_RUN_CHANNEL (channel_fd readable or closed), XS_RUN_EVENT (xs_worker_event has
 * something), XS_RUN_TIME (max_ms passed; also the longest sleep). One breath does one burst per ring. */
enum xs_run_reason { XS_RUN_TIME = 0, XS_RUN_CHANNEL = 1, XS_RUN_EVENT = 2 };
int xs_worker_run(struct xs_worker *w, int channel_fd, int max_ms);
int xs_worker_breathe(struct xs_worker *w);                       /* one breath without sleeping; frames moved */
int xs_worker_event(struct xs_worker *w, struct xs_event *event); /* 1 and the oldest event, or 0 */

#endif
