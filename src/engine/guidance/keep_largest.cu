// Of each channel's elements keeps those whose absolute value reaches an order statistic of the absolute values, and sets
// the others to 0: the twin of `keep_largest` in guidance.rs, equal to the bit.
//
// One block a channel. The order statistic is found digit by digit, from the highest on (a radix select): the bits of
// floats that are not negative are in the order of their values. `rank` counts from 0 in ascending order, and is below
// `places`.
extern "C" __global__ void keep_largest(const float *edit, float *kept, const unsigned places, const unsigned rank) {
    __shared__ unsigned counts[256];
    __shared__ unsigned least; // its digits that are known
    __shared__ unsigned left;  // the rank among the elements that begin with them
    const float *from = edit + (size_t)blockIdx.x * places;
    float *to = kept + (size_t)blockIdx.x * places;
    if (threadIdx.x == 0) {
        least = 0;
        left = rank;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (unsigned digit = threadIdx.x; digit < 256; digit += blockDim.x) {
            counts[digit] = 0;
        }
        __syncthreads();
        const unsigned known = shift == 24 ? 0u : 0xffffffffu << (shift + 8);
        for (unsigned i = threadIdx.x; i < places; i += blockDim.x) {
            const unsigned magnitude = __float_as_uint(from[i]) & 0x7fffffffu;
            if ((magnitude & known) == least) {
                atomicAdd(&counts[(magnitude >> shift) & 255u], 1u);
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            unsigned digit = 0;
            while (left >= counts[digit]) {
                left -= counts[digit];
                ++digit;
            }
            least |= digit << shift;
        }
        __syncthreads();
    }
    for (unsigned i = threadIdx.x; i < places; i += blockDim.x) {
        const unsigned magnitude = __float_as_uint(from[i]) & 0x7fffffffu;
        to[i] = magnitude < least ? 0.0f : from[i];
    }
}
