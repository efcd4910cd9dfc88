/* Offers UDP over IPv4 to a veth's other end by live frames (BPF_PROG_TEST_RUN, kernel 5.18), at full speed or paced.
 */

/* bench-generate OBJECT INTERFACE DESTINATION_MAC SIZE CORES FRAMES MILLISECONDS RATE
 *
 * SIZE: bytes of the IP packet. CORES: a comma-separated list, one sending process pinned to each. It stops after
 * FRAMES or MILLISECONDS, whichever is first, each per core. RATE: frames a second per core, 0 = as fast as it goes.
 * Prints one line, the frames offered. */
#include <errno.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ETH = 14, IP = 20, FRAME_MAX = 1514, BATCH = 64 };

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "bench-generate: not so: %s\n", #what);                                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

struct load {
    int program, ifindex;
    uint8_t frame[FRAME_MAX];
    uint32_t len;
    uint64_t frames, rate, milliseconds;
    int lanes;
};

struct lane { /* as generate.bpf.c has it */
    uint64_t sent, limit, next, interval;
};

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value;
}

/* The frame but for addresses and checksum, which the program writes. */
static void make_frame(struct load *load, const char *mac, uint32_t size)
{
    uint8_t *ip = load->frame + ETH, *udp = ip + IP;
    unsigned m[6];
    MUST(sscanf(mac, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) == 6);
    for (int i = 0; i < 6; i++)
        load->frame[i] = (uint8_t)m[i];
    load->frame[6] = 2, load->frame[11] = 0x77, load->frame[12] = 8;
    ip[0] = 0x45, ip[8] = 64, ip[9] = 17;
    put16(ip + 2, size);
    put16(udp, 1000), put16(udp + 2, 2000), put16(udp + 4, size - IP);
    load->len = ETH + size;
}

static void nothing(int number)
{
    (void)number;
}

/* One call for the whole time: the timer's signal ends it. */
static void run(const struct load *load)
{
    struct xdp_md ctx = {.data_end = load->len, .ingress_ifindex = (uint32_t)load->ifindex};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = load->frame, .data_size_in = load->len, .ctx_in = &ctx,
                .ctx_size_in = sizeof ctx, .repeat = INT32_MAX, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                .batch_size = BATCH);
    struct itimerval once = {
        .it_value = {(time_t)(load->milliseconds / 1000), (long)(load->milliseconds % 1000) * 1000}};
    struct sigaction action = {.sa_handler = nothing};
    MUST(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &once, NULL) == 0);
    int result = bpf_prog_test_run_opts(load->program, &opts);
    MUST(result == 0 || result == -EINTR);
}

/* Every core's lane alike. */
static void set_lanes(const struct load *load)
{
    int cpus = libbpf_num_possible_cpus();
    struct lane *lanes = calloc((size_t)cpus, sizeof *lanes);
    uint32_t key = 0;
    MUST(cpus > 0 && lanes);
    for (int i = 0; i < cpus; i++)
        lanes[i] = (struct lane){.limit = load->frames, .interval = load->rate ? 1000000000ULL / load->rate : 0};
    MUST(bpf_map_update_elem(load->lanes, &key, lanes, BPF_ANY) == 0);
    free(lanes);
}

static uint64_t sent(const struct load *load)
{
    int cpus = libbpf_num_possible_cpus();
    struct lane *lanes = calloc((size_t)cpus, sizeof *lanes);
    uint32_t key = 0;
    uint64_t total = 0;
    MUST(lanes && bpf_map_lookup_elem(load->lanes, &key, lanes) == 0);
    for (int i = 0; i < cpus; i++)
        total += lanes[i].sent;
    free(lanes);
    return total;
}

static void pin(int core)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    MUST(sched_setaffinity(0, sizeof one, &one) == 0);
}

/* Sends from every core of the list at once, and waits. */
static void run_all(const struct load *load, char *cores)
{
    for (char *core = strtok(cores, ","); core; core = strtok(NULL, ",")) {
        pid_t child = fork();
        MUST(child >= 0);
        if (child)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(atoi(core));
        run(load);
        _exit(0);
    }
    for (int status; wait(&status) > 0;)
        MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
    MUST(argc == 9);
    struct load load = {.ifindex = (int)if_nametoindex(argv[2])};
    uint32_t size = (uint32_t)atoi(argv[4]);
    MUST(load.ifindex && size >= IP + 8 && size <= FRAME_MAX - ETH);
    load.frames = strtoull(argv[6], NULL, 10);
    load.milliseconds = strtoull(argv[7], NULL, 10);
    load.rate = strtoull(argv[8], NULL, 10);
    make_frame(&load, argv[3], size);
    struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
    MUST(object && bpf_object__load(object) == 0);
    load.program = bpf_program__fd(bpf_object__find_program_by_name(object, "generate"));
    load.lanes = bpf_object__find_map_fd_by_name(object, "lanes");
    set_lanes(&load);
    run_all(&load, argv[5]);
    printf("%llu\n", (unsigned long long)sent(&load));
    return 0;
}
