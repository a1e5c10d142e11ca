// Of each channel's elements keeps those whose absolute value reaches an order statistic of the absolute values, and sets
// the others to 0: the twin of `keep_largest` in guidance.rs, equal to the bit.
#include "select.cuh"

// One block a channel. `rank` counts from 0 in ascending order, and is below `places`.
extern "C" __global__ void keep_largest(const float *edit, float *kept, const unsigned places, const unsigned rank) {
    const float *from = edit + (size_t)blockIdx.x * places;
    float *to = kept + (size_t)blockIdx.x * places;
    const unsigned least = magnitude_of_rank([=](unsigned i) { return from[i]; }, places, rank);
    for (unsigned i = threadIdx.x; i < places; i += blockDim.x) {
        const unsigned magnitude = __float_as_uint(from[i]) & 0x7fffffffu;
        to[i] = magnitude < least ? 0.0f : from[i];
    }
}
