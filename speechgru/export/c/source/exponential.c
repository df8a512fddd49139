/* e^x with a relative error of 2e-7, x limited to -87 to 87; without a branch, so that compilers vectorise it. */
static float exponential(float x)
{
    union {
        float value;
        uint32_t bits;
    } number;
    uint32_t size, sign;
    float whole, rest;
    number.value = x;
    sign = number.bits & 0x80000000u;
    size = number.bits & 0x7fffffffu;
    number.bits = sign | (size < 0x42ae0000u ? size : 0x42ae0000u); /* 87 */
    x = number.value;
    whole = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    whole -= 12582912.0f;
    rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    number.bits = (uint32_t)((int32_t)whole + 127) << 23;
    return number.value * (1.0f + rest * (1.0f + rest * (0.5f + rest * (1.66666667e-1f + rest * (4.16666667e-2f
        + rest * (8.33333333e-3f + rest * 1.38888889e-3f))))));
}
