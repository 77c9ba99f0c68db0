/* A libnvidia-ml.so.1 without a GPU: what it answers stands in the file FAKE_NVML_STATE, read again when it changes.
 *
 *   devices N            driver VERSION          sleep_ms FUNCTION MS
 *   code FUNCTION DEVICE NUMBER                  (DEVICE -1: all) what the function returns
 *   hang FUNCTION        crash FUNCTION          value NAME DEVICE NUMBER
 *   field ID DEVICE TYPE NUMBER                  (TYPE: nvmlValueType_t) field_code ID DEVICE NUMBER
 *   proc N DEVICE PID BYTES                      util N DEVICE PID SM ENC DEC TIME_US
 *   mig N DEVICE GI CI BYTES_USED PID            xid N DEVICE XID   (N: told once each)
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINES 512
#define MAX_DEVICES 16
#define MAX_MIG 7

typedef unsigned int uint;
typedef unsigned long long u64;
typedef struct { int device, mig; } *handle_t;

static struct { char word[12][64]; int words; } lines[MAX_LINES];
static int line_count;
static struct timespec read_at;
static ino_t read_ino;
static struct { int device, mig; } handles[MAX_DEVICES][MAX_MIG + 1];
static int told_xids, initialised;

static void load(void) {
    static struct timespec looked_at;
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat st;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec == looked_at.tv_sec && now.tv_nsec - looked_at.tv_nsec < 5000000) return;
    looked_at = now;
    if (!path || stat(path, &st)) return;
    if (st.st_ino == read_ino && st.st_mtim.tv_sec == read_at.tv_sec && st.st_mtim.tv_nsec == read_at.tv_nsec) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    char text[512];
    line_count = 0;
    while (line_count < MAX_LINES && fgets(text, sizeof text, file)) {
        int n = 0;
        for (char *w = strtok(text, " \n"); w && n < 12; w = strtok(NULL, " \n"))
            snprintf(lines[line_count].word[n++], 64, "%s", w);
        lines[line_count].words = n;
        if (n) line_count++;
    }
    fclose(file);
    read_ino = st.st_ino;
    read_at = st.st_mtim;
}

#define WORD(i, n) (lines[i].word[n])
#define NUMBER(i, n) strtoll(WORD(i, n), NULL, 0)
#define EACH(i, kind) for (int i = 0; i < line_count; i++) if (!strcmp(WORD(i, 0), kind))

static int has(const char *kind, const char *function) {
    EACH(i, kind) if (!strcmp(WORD(i, 1), function)) return 1;
    return 0;
}

/* Every function begins here: what the state file says of it, 0 for success. */
static int enter(const char *function, int device) {
    load();
    while (has("hang", function)) { usleep(20000); load(); }
    if (has("crash", function)) raise(SIGSEGV);
    EACH(i, "sleep_ms") if (!strcmp(WORD(i, 1), function)) usleep(NUMBER(i, 2) * 1000);
    EACH(i, "code") if (!strcmp(WORD(i, 1), function) || !strcmp(WORD(i, 1), "all"))
        if (device >= 0 || strcmp(WORD(i, 1), "all"))
            if (NUMBER(i, 2) == -1 || NUMBER(i, 2) == device) return NUMBER(i, 3);
    if (!initialised && strncmp(function, "nvmlInit", 8)) return 1;
    return 0;
}

static long long value(const char *name, int device, long long fallback) {
    EACH(i, "value") if (!strcmp(WORD(i, 1), name) && (NUMBER(i, 2) == -1 || NUMBER(i, 2) == device)) return NUMBER(i, 3);
    return fallback;
}

static int first(const char *kind, int fallback) {
    EACH(i, kind) return NUMBER(i, 1);
    return fallback;
}

#define ENTER(handle) do { int r = enter(__func__, (handle)->device); if (r) return r; } while (0)
#define NUMBER_OF(name, fallback) value(name, handle->device, fallback)

struct use_info { u64 time; uint pid, sm, memory, encoder, decoder, jpeg, ofa; };
struct pci_info { char legacy[16]; uint n[5]; char bus_id[32]; };
struct temperature_v1 { uint version, sensor; int temperature; };
struct memory_v2 { uint version; u64 total, reserved, free, used; };
struct memory_v1 { u64 total, free, used; };
struct rates { uint gpu, memory; };
struct uses_v1 { uint version, count; u64 since; struct use_info *found; };
struct event { handle_t device; u64 type, data; uint gi, ci; };

int nvmlInitWithFlags(uint flags) {
    int r = enter(__func__, -1);
    if (!r) initialised = 1;
    for (int d = 0; d < MAX_DEVICES; d++)
        for (int m = 0; m <= MAX_MIG; m++) { handles[d][m].device = d; handles[d][m].mig = m - 1; }
    return r;
}
int nvmlShutdown(void) { int r = enter(__func__, -1); if (!r) initialised = 0; return r; }
const char *nvmlErrorString(int code) {
    static char text[64];
    snprintf(text, sizeof text, "fake error %d", code);
    return text;
}
int nvmlSystemGetDriverVersion(char *text, uint size) {
    int r = enter(__func__, -1);
    if (r) return r;
    snprintf(text, size, "%s", "575.51.03");
    EACH(i, "driver") snprintf(text, size, "%s", WORD(i, 1));
    return 0;
}
int nvmlDeviceGetCount_v2(uint *count) {
    int r = enter(__func__, -1);
    if (!r) *count = first("devices", 1);
    return r;
}
int nvmlDeviceGetHandleByIndex_v2(uint index, handle_t *handle) {
    int r = enter(__func__, index);
    if (!r) *handle = (handle_t)&handles[index][0];
    return r;
}
int nvmlDeviceGetUUID(handle_t handle, char *text, uint size) {
    ENTER(handle);
    if (handle->mig >= 0) snprintf(text, size, "MIG-fake-%d-%d", handle->device, handle->mig);
    else snprintf(text, size, "GPU-fake-%d", handle->device);
    return 0;
}
int nvmlDeviceGetName(handle_t handle, char *text, uint size) {
    ENTER(handle);
    snprintf(text, size, "Fake GPU");
    return 0;
}
int nvmlDeviceGetPciInfo_v3(handle_t handle, struct pci_info *info) {
    ENTER(handle);
    memset(info, 0, sizeof *info);
    snprintf(info->bus_id, 32, "00000000:%02X:00.0", handle->device + 1);
    return 0;
}

#define UINT_READING(function, name, fallback) \
    int function(handle_t handle, uint *result) { ENTER(handle); *result = NUMBER_OF(name, fallback); return 0; }
#define PAIR_READING(function, name, fallback) \
    int function(handle_t handle, uint *result, uint *period) { \
        ENTER(handle); *result = NUMBER_OF(name, fallback); *period = 166667; return 0; }

UINT_READING(nvmlDeviceGetPowerUsage, "power_mw", 250000)
UINT_READING(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw", 400000)
UINT_READING(nvmlDeviceGetFanSpeed, "fan", 30)
PAIR_READING(nvmlDeviceGetEncoderUtilization, "encoder", 5)
PAIR_READING(nvmlDeviceGetDecoderUtilization, "decoder", 6)
#ifndef OLD_DRIVER
PAIR_READING(nvmlDeviceGetJpgUtilization, "jpeg", 7)
PAIR_READING(nvmlDeviceGetOfaUtilization, "ofa", 8)
int nvmlDeviceGetTemperatureV(handle_t handle, struct temperature_v1 *t) {
    ENTER(handle);
    t->temperature = NUMBER_OF("temperature", 55);
    return 0;
}
int nvmlDeviceGetMemoryInfo_v2(handle_t handle, struct memory_v2 *m) {
    ENTER(handle);
    if (handle->mig >= 0) {
        EACH(i, "mig") if (NUMBER(i, 1) == handle->mig) m->used = NUMBER(i, 5);
        m->total = 10000000000;
        return 0;
    }
    m->total = NUMBER_OF("memory_total", 80000000000);
    m->reserved = NUMBER_OF("memory_reserved", 600000000);
    m->used = NUMBER_OF("memory_used", 30000000000);
    return 0;
}
#endif
int nvmlDeviceGetTemperature(handle_t handle, uint sensor, uint *t) {
    ENTER(handle);
    *t = NUMBER_OF("temperature", 55);
    return 0;
}
int nvmlDeviceGetMemoryInfo(handle_t handle, struct memory_v1 *m) {
    ENTER(handle);
    m->total = NUMBER_OF("memory_total", 80000000000);
    m->used = NUMBER_OF("memory_used", 30000000000);
    return 0;
}
int nvmlDeviceGetUtilizationRates(handle_t handle, struct rates *rates) {
    ENTER(handle);
    if (handle->mig >= 0) return 3;
    EACH(i, "mig") if (NUMBER(i, 2) == handle->device) return 3;
    rates->gpu = NUMBER_OF("gpu", 75);
    rates->memory = NUMBER_OF("memory", 40);
    return 0;
}
int nvmlDeviceGetClockInfo(handle_t handle, uint domain, uint *mhz) {
    static const char *names[] = {"graphics_mhz", "sm_mhz", "memory_mhz", "video_mhz"};
    ENTER(handle);
    *mhz = NUMBER_OF(names[domain & 3], 1000 + domain);
    return 0;
}

struct field { uint id, scope; long long timestamp, latency; uint type; int code; union { double d; u64 u; } value; };

int nvmlDeviceGetFieldValues(handle_t handle, int count, struct field *fields) {
    ENTER(handle);
    for (int f = 0; f < count; f++) {
        fields[f].code = 3;
        EACH(i, "field") if (NUMBER(i, 1) == fields[f].id && NUMBER(i, 2) == handle->device) {
            fields[f].code = 0;
            fields[f].type = NUMBER(i, 3);
            fields[f].value.u = NUMBER(i, 4);
        }
        EACH(i, "field_code") if (NUMBER(i, 1) == fields[f].id && NUMBER(i, 2) == handle->device)
            fields[f].code = NUMBER(i, 3);
    }
    return 0;
}

struct process { uint pid; u64 used; uint gi, ci; };

static int list(handle_t handle, uint *count, struct process *found) {
    uint n = 0, room = *count;
    if (handle->mig >= 0) {
        EACH(i, "mig") if (NUMBER(i, 1) == handle->mig && lines[i].words > 6) {
            if (found && n < room) found[n] = (struct process){NUMBER(i, 6), NUMBER(i, 5), NUMBER(i, 3), NUMBER(i, 4)};
            n++;
        }
    } else {
        EACH(i, "proc") if (NUMBER(i, 2) == handle->device) {
            if (found && n < room) found[n] = (struct process){NUMBER(i, 3), NUMBER(i, 4), -1, -1};
            n++;
        }
    }
    *count = n;
    return n > room ? 7 : 0;
}
#define PROCESSES(function) \
    int function(handle_t handle, uint *count, struct process *found) { ENTER(handle); return list(handle, count, found); }
#define NO_PROCESSES(function) \
    int function(handle_t handle, uint *count, struct process *found) { ENTER(handle); *count = 0; return 0; }
#ifndef OLD_DRIVER
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3)
#else
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2)
#endif

struct use { uint pid; u64 time; uint sm, memory, encoder, decoder; };

static int uses(int device, u64 since, struct use *found, uint room) {
    uint n = 0;
    EACH(i, "util") if (NUMBER(i, 2) == device && NUMBER(i, 7) > since) {
        if (n < room) found[n] = (struct use){NUMBER(i, 3), NUMBER(i, 7), NUMBER(i, 4), 0, NUMBER(i, 5), NUMBER(i, 6)};
        n++;
    }
    return n;
}
int nvmlDeviceGetProcessUtilization(handle_t handle, struct use *found, uint *count, u64 since) {
    ENTER(handle);
    EACH(i, "mig") if (NUMBER(i, 2) == handle->device) return 3;
    uint n = uses(handle->device, since, NULL, 0);
    if (!n) return value("idle_is_success", 0, 0) ? 0 : 6;
    if (!found || *count < n) { *count = n; return 7; }
    *count = uses(handle->device, since, found, *count);
    return 0;
}
#ifndef OLD_DRIVER
int nvmlDeviceGetProcessesUtilizationInfo(handle_t handle, struct uses_v1 *info) {
    static struct use all[64];
    ENTER(handle);
    EACH(i, "mig") if (NUMBER(i, 2) == handle->device) return 3;
    uint n = uses(handle->device, info->since, all, 64);
    if (!n) return value("idle_is_success", 0, 0) ? 0 : 6;
    if (!info->found || info->count < n) { info->count = n; return 7; }
    for (uint i = 0; i < n; i++)
        info->found[i] = (struct use_info){all[i].time, all[i].pid, all[i].sm, 0, all[i].encoder, all[i].decoder, 0, 0};
    info->count = n;
    return 0;
}
#endif

int nvmlDeviceGetMigMode(handle_t handle, uint *current, uint *pending) {
    ENTER(handle);
    *current = 0;
    EACH(i, "mig") if (NUMBER(i, 2) == handle->device) *current = 1;
    *pending = *current;
    return value("no_mig", handle->device, 0) ? 3 : 0;
}
int nvmlDeviceGetMaxMigDeviceCount(handle_t handle, uint *count) { ENTER(handle); *count = MAX_MIG; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(handle_t handle, uint index, handle_t *mig) {
    ENTER(handle);
    EACH(i, "mig") if (NUMBER(i, 1) == index && NUMBER(i, 2) == handle->device) {
        *mig = (handle_t)&handles[handle->device][index + 1];
        return 0;
    }
    return 6;
}
#define MIG_NUMBER(function, word) \
    int function(handle_t handle, uint *id) { \
        ENTER(handle); \
        EACH(i, "mig") if (NUMBER(i, 1) == handle->mig) { *id = NUMBER(i, word); return 0; } \
        return 2; }
MIG_NUMBER(nvmlDeviceGetGpuInstanceId, 3)
MIG_NUMBER(nvmlDeviceGetComputeInstanceId, 4)

int nvmlEventSetCreate(void **set) { static int it; *set = &it; return enter(__func__, -1); }
int nvmlEventSetFree(void *set) { return enter(__func__, -1); }
int nvmlDeviceRegisterEvents(handle_t handle, u64 types, void *set) { ENTER(handle); return 0; }
int nvmlEventSetWait_v2(void *set, struct event *event, uint ms) {
    int r = enter(__func__, -1);
    if (r) return r;
    EACH(i, "xid") if (NUMBER(i, 1) > told_xids) {
        told_xids = NUMBER(i, 1);
        event->device = (handle_t)&handles[NUMBER(i, 2)][0];
        event->type = 8;
        event->data = NUMBER(i, 3);
        return 0;
    }
    return 10;
}
