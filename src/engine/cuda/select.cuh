// An order statistic of magnitudes, exact, by a block of threads.
#pragma once

// The bits of the magnitude of this rank, counted from 0 in ascending order, among `places` of them; `rank` is below `places`.
//
// It is found digit by digit, from the highest on (a radix select): the bits of floats that are not negative are in the
// order of their values. All threads of the block must call it, and all get the answer.
template <typename Value>
__device__ unsigned magnitude_of_rank(Value value, const unsigned places, const unsigned rank) {
    __shared__ unsigned counts[256];
    __shared__ unsigned least; // its digits that are known
    __shared__ unsigned left;  // the rank among the magnitudes that begin with them
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
            const unsigned magnitude = __float_as_uint(value(i)) & 0x7fffffffu;
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
    return least;
}
