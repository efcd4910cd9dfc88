/* The door from user space: load the BPF object, attach it by a link that dies with us, reach its maps. Needs
 * privilege to load and attach; map calls work for whoever holds the descriptors. */
#ifndef XS_DOOR_H
#define XS_DOOR_H

#include "shared.h"

struct xs_door;
enum xs_xdp_mode { XS_XDP_NATIVE, XS_XDP_GENERIC };

struct xs_door *xs_door_load(const char *object, int *error); /* NULL and a positive errno */
void xs_door_close(struct xs_door *door);                     /* detaches everything */
int xs_door_program_fd(const struct xs_door *door);
int xs_door_map_fd(const struct xs_door *door, const char *name);
/* Attaches to an interface and returns the descriptor of the link (closing it detaches) or a negative errno. */
int xs_door_attach(struct xs_door *door, int ifindex, int mode);
/* Is the program of a link on its interface still? The kernel tells nobody when somebody takes it off. */
int xs_door_attached(int link);

/* Key of a socket in the XSKMAP, or -EINVAL. */
int xs_door_slot(uint32_t port, uint32_t queue, uint32_t worker);

int xs_map_update(int fd, const void *key, const void *value);
int xs_map_delete(int fd, const void *key);
int xs_map_lookup(int fd, const void *key, void *value);
int xs_map_next_key(int fd, const void *key, void *next); /* key NULL = first */
int xs_cpu_count(void);                                   /* values of a per-CPU map entry */

/* One frame through the program without a network (BPF_PROG_TEST_RUN): the XDP action or a negative errno. */
int xs_door_try(int program_fd, const uint8_t *frame, uint32_t len, uint32_t ifindex, uint32_t queue);
/* Sends copies of a frame as if received on ifindex, at full speed (live frames, kernel 5.18). */
int xs_door_live(int program_fd, const uint8_t *frame, uint32_t len, uint32_t ifindex, uint32_t repeat, uint32_t batch);

#endif
