"""Run as a script, in a process of its own: prints what CPUID says and whether the kernel grants AMX.

Output: CPUID as `LEAF SUBLEAF EAX EBX ECX EDX`, hexadecimal; `xcomp_supported BITS` (hexadecimal) and
`xcomp_request ERRNO` (0: granted), or `xcomp_error ERRNO` from a kernel that knows neither.
"""

from __future__ import annotations

import ctypes
import mmap

# mov r10,rdx(out); push rbx; mov eax,edi; mov ecx,esi; cpuid; mov [r10],eax..edx; pop rbx; ret  (System V AMD64)
_CODE = bytes.fromhex("49 89 d2 53 89 f8 89 f1 0f a2 41 89 02 41 89 5a 04 41 89 4a 08 41 89 52 0c 5b c3")
_LEAVES = ((0, 0), (1, 0), (7, 0), (7, 1), (0x1D, 1), (0x1E, 0), (0x40000000, 0))
# arch/x86/include/uapi/asm/prctl.h and the system call's number on x86-64.
_SYS_ARCH_PRCTL = 158
_GET_XCOMP_SUPP = 0x1021
_REQ_XCOMP_PERM = 0x1023
_XTILEDATA = 18


def _cpuid() -> list[str]:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32))(address)
    registers = (ctypes.c_uint32 * 4)()
    call(0, 0, registers)
    highest = registers[0]
    lines = []
    for leaf, subleaf in _LEAVES:
        if leaf <= highest or leaf == 0x40000000:  # an unknown leaf would answer with the highest one's figures
            call(leaf, subleaf, registers)
            lines.append(f"{leaf:x} {subleaf:x} " + " ".join(f"{value:x}" for value in registers))
    return lines


def _permission() -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    supported = ctypes.c_uint64()
    if libc.syscall(_SYS_ARCH_PRCTL, _GET_XCOMP_SUPP, ctypes.byref(supported)) != 0:
        return [f"xcomp_error {ctypes.get_errno()}"]
    error = 0 if libc.syscall(_SYS_ARCH_PRCTL, _REQ_XCOMP_PERM, _XTILEDATA) == 0 else ctypes.get_errno()
    return [f"xcomp_supported {supported.value:x}", f"xcomp_request {error}"]


if __name__ == "__main__":
    print(*_permission(), sep="\n", flush=True)
    # Last: SELinux may refuse executable memory, and then the permission is still told.
    print(*_cpuid(), sep="\n", flush=True)
