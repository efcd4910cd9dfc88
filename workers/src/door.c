/* libbpf behind a few calls: load, attach, maps, test runs. */
#include "door.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stdlib.h>

struct xs_door {
    struct bpf_object *object;
    struct bpf_program *program;
};

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
    (void)level, (void)format, (void)args;
    return 0;
}

struct xs_door *xs_door_load(const char *path, int *error)
{
    struct xs_door *door = calloc(1, sizeof *door);
    *error = ENOMEM;
    if (!door)
        return NULL;
    libbpf_set_print(quiet);
    errno = 0;
    door->object = bpf_object__open_file(path, NULL);
    if (door->object && bpf_object__load(door->object) == 0)
        door->program = bpf_object__find_program_by_name(door->object, "steer");
    if (door->program) {
        *error = 0;
        return door;
    }
    *error = errno ? errno : EINVAL;
    xs_door_close(door);
    return NULL;
}

void xs_door_close(struct xs_door *door)
{
    if (door && door->object)
        bpf_object__close(door->object);
    free(door);
}

int xs_door_program_fd(const struct xs_door *door)
{
    return bpf_program__fd(door->program);
}

int xs_door_map_fd(const struct xs_door *door, const char *name)
{
    return bpf_object__find_map_fd_by_name(door->object, name);
}

int xs_door_attach(struct xs_door *door, int ifindex, int mode)
{
    LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = mode == XS_XDP_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
    return bpf_link_create(bpf_program__fd(door->program), ifindex, BPF_XDP, &opts);
}

int xs_door_attached(int link)
{
    struct bpf_link_info info = {0};
    uint32_t size = sizeof info;
    int error = bpf_obj_get_info_by_fd(link, &info, &size);
    return error ? error : info.xdp.ifindex != 0;
}

int xs_door_slot(uint32_t port, uint32_t queue, uint32_t worker)
{
    if (port >= XS_MAX_PORTS || queue >= XS_MAX_QUEUES || worker >= XS_MAX_WORKERS)
        return -EINVAL;
    return (int)xs_xskmap_index(port, queue, worker);
}

int xs_map_update(int fd, const void *key, const void *value)
{
    return bpf_map_update_elem(fd, key, value, BPF_ANY);
}

int xs_map_delete(int fd, const void *key)
{
    return bpf_map_delete_elem(fd, key);
}

int xs_map_lookup(int fd, const void *key, void *value)
{
    return bpf_map_lookup_elem(fd, key, value);
}

int xs_map_next_key(int fd, const void *key, void *next)
{
    return bpf_map_get_next_key(fd, key, next);
}

int xs_cpu_count(void)
{
    return libbpf_num_possible_cpus();
}

int xs_door_try(int program_fd, const uint8_t *frame, uint32_t len, uint32_t ifindex, uint32_t queue)
{
    struct xdp_md ctx = {.data_end = len, .ingress_ifindex = ifindex, .rx_queue_index = queue};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
                .ctx_size_in = sizeof ctx);
    int error = bpf_prog_test_run_opts(program_fd, &opts);
    return error ? error : (int)opts.retval;
}

int xs_door_live(int program_fd, const uint8_t *frame, uint32_t len, uint32_t ifindex, uint32_t repeat, uint32_t batch)
{
    struct xdp_md ctx = {.data_end = len, .ingress_ifindex = ifindex};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
                .ctx_size_in = sizeof ctx, .repeat = (int)repeat, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                .batch_size = batch);
    return bpf_prog_test_run_opts(program_fd, &opts);
}
