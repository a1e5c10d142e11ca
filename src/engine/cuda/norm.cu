// Normalisation over groups of channels and all places, then a scale and a shift for each channel, and silu where that is
// wanted: the twin of `group_norm` in fused.rs. Sums are in f32, of differences to the mean.
#include "numbers.cuh"

// A power of two, as in fused.rs.
#define THREADS 512

// The sum of a number of each thread of the block, which all threads get.
__device__ inline float sum_of_block(const float own) {
    __shared__ float sums[THREADS];
    sums[threadIdx.x] = own;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
        }
    }
    __syncthreads();
    const float sum = sums[0];
    // Nobody begins the next sum before all have read this one.
    __syncthreads();
    return sum;
}

// A block for each row and group of x [rows, channels, places], which lie one behind the other.
template <typename T>
__device__ inline void group_norm(const T *x, const T *scale, const T *shift, T *y, const unsigned channels,
                                  const unsigned places, const unsigned groups, const float epsilon, const int silu) {
    const unsigned own = channels / groups;
    const unsigned count = own * places;
    const size_t start = (size_t)blockIdx.x * count;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        sum += wide(x[start + i]);
    }
    const float mean = sum_of_block(sum) / count;
    float squares = 0.0f;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        const float difference = wide(x[start + i]) - mean;
        squares += difference * difference;
    }
    const float factor = 1.0f / sqrtf(sum_of_block(squares) / count + epsilon);
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        const unsigned channel = blockIdx.x % groups * own + i / places;
        float normed = (wide(x[start + i]) - mean) * factor * wide(scale[channel]) + wide(shift[channel]);
        if (silu) {
            normed = normed / (1.0f + expf(-normed));
        }
        y[start + i] = narrow<T>(normed);
    }
}

#define GROUP_NORM(T, NAME)                                                                                              \
    extern "C" __global__ void group_norm_##NAME(const T *x, const T *scale, const T *shift, T *y,                       \
                                                 const unsigned channels, const unsigned places, const unsigned groups,  \
                                                 const float epsilon, const int silu) {                                  \
        group_norm(x, scale, shift, y, channels, places, groups, epsilon, silu);                                         \
    }
FOR_EACH_TYPE(GROUP_NORM)
