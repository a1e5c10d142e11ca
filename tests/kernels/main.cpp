// Runs one kernel on what the standard input says, and writes what it made to the standard output.
#include "host.h"

#include "combine.cu"
#include "finish.cu"
#include "gate.cu"
#include "guide.cu"
#include "keep_largest.cu"
#include "norm.cu"

using host::answer;
using host::launch;
using host::numbers;
using host::numbers_if_any;
using host::read;

static unsigned threads_for(unsigned count, unsigned threads) { return (count + threads - 1) / threads; }

static void run_keep_largest(unsigned threads) {
    const unsigned blocks = read<unsigned>(), places = read<unsigned>(), rank = read<unsigned>();
    const float *edit = numbers<float>();
    float *kept = numbers<float>();
    launch(blocks, threads, [&] { keep_largest(edit, kept, places, rank); });
    answer(1);
}

static void run_combine(unsigned threads) {
    Sums sums = read<Sums>();
    const unsigned count = read<unsigned>();
    for (unsigned i = 0; i < sums.operands; ++i) {
        sums.operand[i] = numbers<float>();
    }
    float *to = numbers<float>();
    launch(threads_for(count, threads), threads, [&] { combine(sums, to, count); });
    answer(1);
}

// Momenta and effects before follow the argument, empty where they are 0.
static void run_guide(unsigned threads) {
    Guidance g = read<Guidance>();
    for (unsigned i = 0; i < g.momenta; ++i) {
        g.momentum[i].before = numbers_if_any<float>();
    }
    for (unsigned i = 0; i < g.effects; ++i) {
        g.effect[i] = numbers_if_any<float>();
    }
    const float *estimates = numbers<float>();
    unsigned *least = numbers<unsigned>();
    float *guided = numbers<float>(), *momenta = numbers<float>(), *effects = numbers<float>();
    launch(g.terms * g.channels, threads, [&] { thresholds(estimates, g, least); });
    launch(threads_for(g.places, threads), threads, [&] { guide(estimates, g, least, guided, momenta, effects); });
    answer(3);
}

template <typename T>
static void run_norm(void (*kernel)(const T *, const T *, const T *, T *, unsigned, unsigned, unsigned, float, int)) {
    const unsigned rows = read<unsigned>(), channels = read<unsigned>(), places = read<unsigned>();
    const unsigned groups = read<unsigned>();
    const float epsilon = read<float>();
    const int silu = read<int>();
    const T *x = numbers<T>(), *scale = numbers<T>(), *shift = numbers<T>();
    T *y = numbers<T>();
    launch(rows * groups, THREADS, [&] { kernel(x, scale, shift, y, channels, places, groups, epsilon, silu); });
    answer(1);
}

template <typename T>
static void run_gate(void (*kernel)(const T *, const T *, T *, unsigned, unsigned), unsigned threads) {
    const unsigned width = read<unsigned>(), count = read<unsigned>();
    const T *x = numbers<T>(), *bias = numbers<T>();
    T *y = numbers<T>();
    launch(threads_for(count, threads), threads, [&] { kernel(x, bias, y, width, count); });
    answer(1);
}

template <typename T>
static void run_finish(void (*kernel)(const T *, const T *, const T *, const T *, T *, unsigned, unsigned, unsigned,
                                      unsigned, int, unsigned),
                       unsigned threads) {
    const unsigned channels = read<unsigned>(), places = read<unsigned>(), shifts = read<unsigned>();
    const unsigned residuals = read<unsigned>();
    const int relu = read<int>();
    const unsigned count = read<unsigned>();
    const T *x = numbers<T>();
    const T *bias = numbers_if_any<T>(), *shift = numbers_if_any<T>(), *residual = numbers_if_any<T>();
    T *y = numbers<T>();
    launch(threads_for(count, threads), threads,
           [&] { kernel(x, bias, shift, residual, y, channels, places, shifts, residuals, relu, count); });
    answer(1);
}

// KERNEL ORDER THREADS, the last for kernels that leave it open.
int main(int count, char **words) {
    if (count != 4) {
        fail("KERNEL ORDER THREADS");
    }
    const auto is = [&](const char *name) { return strcmp(words[1], name) == 0; };
    host::order = (unsigned)atoi(words[2]);
    const unsigned threads = (unsigned)atoi(words[3]);
    if (is("keep_largest")) run_keep_largest(threads);
    else if (is("combine")) run_combine(threads);
    else if (is("guide")) run_guide(threads);
    else if (is("group_norm_f32")) run_norm(group_norm_f32);
    else if (is("group_norm_f16")) run_norm(group_norm_f16);
    else if (is("group_norm_bf16")) run_norm(group_norm_bf16);
    else if (is("gate_f32")) run_gate(gate_f32, threads);
    else if (is("gate_f16")) run_gate(gate_f16, threads);
    else if (is("gate_bf16")) run_gate(gate_bf16, threads);
    else if (is("finish_f32")) run_finish(finish_f32, threads);
    else if (is("finish_f16")) run_finish(finish_f16, threads);
    else if (is("finish_bf16")) run_finish(finish_bf16, threads);
    else fail("there is no such kernel");
    return 0;
}
