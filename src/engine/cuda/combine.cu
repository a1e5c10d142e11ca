// Sums of the same tensors with factors, such as a solver's next state: the twin of `combine` in combine.rs.

// As in combine.rs.
#define OPERANDS 8
#define SUMS 8

struct Sums {
    unsigned operands;
    unsigned sums;
    const float *operand[OPERANDS];
    float factor[SUMS][OPERANDS]; // 0 leaves the operand out
};

// To [sums, count], a thread for each number of a sum.
extern "C" __global__ void combine(const __grid_constant__ Sums s, float *to, const unsigned count) {
    const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) {
        return;
    }
    for (unsigned sum = 0; sum < s.sums; ++sum) {
        float total = 0.0f;
        for (unsigned i = 0; i < s.operands; ++i) {
            if (s.factor[sum][i] != 0.0f) {
                total += s.operand[i][at] * s.factor[sum][i];
            }
        }
        to[(size_t)sum * count + at] = total;
    }
}
