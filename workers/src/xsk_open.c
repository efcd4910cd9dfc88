/* AF_XDP sockets from the kernel's own interface: options, then bind with the flags that the socket's place asks. */
#include "xsk_open.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 /* kernel 6.17 */
#endif
enum { TX_BUDGET = 256 }; /* descriptors a send call takes in copy mode; 32 on older kernels */

static int option(int fd, int name, uint32_t value)
{
    return setsockopt(fd, SOL_XDP, name, &value, sizeof value);
}

static int set_up(int fd, const struct xs_xsk_conf *c)
{
    struct xdp_umem_reg reg = {
        .addr = (uint64_t)(uintptr_t)c->umem,
        .len = c->umem_size,
        .chunk_size = c->chunk_size,
    };
    if (c->umem && setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof reg))
        return -errno;
    if (c->queue_first &&
        (option(fd, XDP_UMEM_FILL_RING, c->fill_size) || option(fd, XDP_UMEM_COMPLETION_RING, c->completion_size)))
        return -errno;
    if (option(fd, XDP_RX_RING, c->rx_size) || option(fd, XDP_TX_RING, c->tx_size))
        return -errno;
    option(fd, XDP_MAX_TX_SKB_BUDGET, TX_BUDGET); /* older kernels know no such option: 32 stay */
    return 0;
}

static int bind_with(int fd, const struct xs_xsk_conf *c, uint16_t flags)
{
    struct sockaddr_xdp addr = {
        .sxdp_family = AF_XDP,
        .sxdp_flags = flags,
        .sxdp_ifindex = (uint32_t)c->ifindex,
        .sxdp_queue_id = c->queue,
        .sxdp_shared_umem_fd = c->share_fd >= 0 ? (uint32_t)c->share_fd : 0,
    };
    return bind(fd, (struct sockaddr *)&addr, sizeof addr) ? -errno : 0;
}

static int bind_place(int fd, const struct xs_xsk_conf *c)
{
    if (c->share_fd >= 0)
        return bind_with(fd, c, XDP_SHARED_UMEM); /* mode and wake-up are inherited; naming them again is EINVAL */
    if (c->bind != XS_BIND_COPY) {
        int error = bind_with(fd, c, XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP);
        if (!error || c->bind == XS_BIND_ZERO_COPY || error == -EBUSY)
            return error;
    }
    return bind_with(fd, c, XDP_COPY | XDP_USE_NEED_WAKEUP);
}

int xs_xsk_open(const struct xs_xsk_conf *conf)
{
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = set_up(fd, conf);
    if (!error)
        error = bind_place(fd, conf);
    if (!error)
        return fd;
    close(fd);
    return error;
}

/* By ioctl, since /sys may show another namespace. A driver that knows no channels has one queue. */
int xs_xsk_queues(const char *interface)
{
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    struct ifreq request = {.ifr_data = (void *)&channels};
    if (strlen(interface) >= sizeof request.ifr_name)
        return -ENODEV;
    memcpy(request.ifr_name, interface, strlen(interface));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = ioctl(fd, SIOCETHTOOL, &request) ? errno : 0;
    close(fd);
    if (error && error != EOPNOTSUPP)
        return -error;
    uint32_t queues = channels.rx_count + channels.combined_count;
    return queues ? (int)queues : 1;
}

int xs_xsk_zero_copy(int fd)
{
    struct xdp_options options;
    socklen_t len = sizeof options;
    if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &len))
        return -errno;
    return (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

int xs_xsk_statistics(int fd, uint64_t out[6])
{
    struct xdp_statistics stats;
    socklen_t len = sizeof stats;
    memset(&stats, 0, sizeof stats);
    if (getsockopt(fd, SOL_XDP, XDP_STATISTICS, &stats, &len))
        return -errno;
    uint64_t values[6] = {stats.rx_dropped,   stats.rx_invalid_descs,         stats.tx_invalid_descs,
                          stats.rx_ring_full, stats.rx_fill_ring_empty_descs, stats.tx_ring_empty_descs};
    memcpy(out, values, sizeof values);
    return 0;
}
