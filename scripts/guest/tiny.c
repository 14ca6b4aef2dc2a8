/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that boots at once and needs no kernel: like counter.c it counts, rewrites pages of its
 * data, checks them, and says so on the first serial port; and it obeys a byte that comes in there:
 *
 *     q  quiet: says "QUIET", then writes no byte anywhere until the next command
 *     s  one turn, then quiet again
 *     g  go on
 *
 * It is a multiboot image. Command line: data=ADDRESS+PAGES[,...] (the pages, anywhere below
 * 16 GiB) vga=PAGES (as many of the VGA's memory) dirty=PAGES (rewritten a turn) hz=TURNS a second.
 */
#include <stdbool.h>
#include <stdint.h>

#define PAGE_SIZE   4096u
#define PAGE_WORDS  (PAGE_SIZE / sizeof(uint64_t))
#define MAX_REGIONS 8u
#define MAX_PAGES   32768u
#define VGA_OFFSET  (1u << 20) /* of the pages, in the VGA's memory: away from the text screen */
#define MAPPED_GIB  16
#define COM1	    0x3f8u
#define PIT_HZ	    1193182u
#define IRQ_BASE    32u
#define IRQ_TIMER   0x01u /* bits of the interrupt controller's mask */
#define IRQ_SERIAL  0x10u

struct region {
	uint64_t *words;
	uint32_t n_pages;
};

struct gate {
	uint16_t low, selector;
	uint8_t stack, type;
	uint16_t middle;
	uint32_t high, zero;
};

struct multiboot_info {
	uint32_t flags, unused[3], cmdline;
};

/* from long mode on: everything below MAPPED_GIB is where it is, in pages of 2 MiB */
uint64_t tables[2 + MAPPED_GIB][512] __attribute__((aligned(4096)));
uint8_t stack[16384] __attribute__((aligned(16)));

static struct gate idt[256];
static struct region regions[MAX_REGIONS];
static uint32_t n_regions, n_pages;
static uint64_t page_sum[MAX_PAGES]; /* what each page must add up to */
static uint64_t seed = 88172645463325252ull;
static volatile uint32_t ticks;

/* clang-format off */
__asm__(".section .multiboot, \"a\"\n"
	"header: .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)\n"
	"	.long header, image, image_end, bss_end, start\n"
	".text\n"
	".code32\n"
	".globl start\n"
	"start:	mov $stack + 16384, %esp\n"
	"	mov $tables, %edi\n"
	"	lea 4096 + 3(%edi), %eax\n"
	"	mov %eax, (%edi)\n"
	"	xor %ecx, %ecx\n"
	"1:	mov %ecx, %eax\n"		/* a table for each GiB */
	"	shl $12, %eax\n"
	"	lea 2 * 4096 + 3(%edi, %eax), %eax\n"
	"	mov %eax, 4096(%edi, %ecx, 8)\n"
	"	inc %ecx\n"
	"	cmp $16, %ecx\n"
	"	jne 1b\n"
	"	xor %ecx, %ecx\n"
	"2:	mov %ecx, %eax\n"		/* a page for each 2 MiB */
	"	shl $21, %eax\n"
	"	or $0x83, %eax\n"
	"	mov %ecx, %edx\n"
	"	shr $11, %edx\n"
	"	mov %eax, 2 * 4096(%edi, %ecx, 8)\n"
	"	mov %edx, 2 * 4096 + 4(%edi, %ecx, 8)\n"
	"	inc %ecx\n"
	"	cmp $16 * 512, %ecx\n"
	"	jne 2b\n"
	"	mov %edi, %cr3\n"
	"	mov %cr4, %eax\n"
	"	or $0x20, %eax\n"
	"	mov %eax, %cr4\n"
	"	mov $0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	or $0x100, %eax\n"
	"	wrmsr\n"
	"	mov %cr0, %eax\n"
	"	or $0x80000000, %eax\n"
	"	mov %eax, %cr0\n"
	"	lgdt gdt_end\n"
	"	ljmp $8, $long_start\n"
	".code64\n"
	"long_start:\n"
	"	mov $16, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	mov %ebx, %edi\n"
	"	call tiny_main\n"
	".section .rodata\n"
	"	.balign 8\n"
	"gdt:	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff\n"
	"gdt_end: .word gdt_end - gdt - 1\n"
	"	.long gdt\n"
	".text\n");
/* clang-format on */

static void
out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t
in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static uint32_t
pci_read(uint32_t device, uint32_t reg)
{
	uint32_t value;

	__asm__ volatile("outl %0, %1"
			 :
			 : "a"(0x80000000u | device << 11 | reg), "Nd"((uint16_t)0xcf8));
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"((uint16_t)0xcfc));
	return value;
}

static void
say(const char *text)
{
	for (; *text != '\0'; text++) {
		while ((in8(COM1 + 5) & 0x20) == 0)
			;
		out8(COM1, (uint8_t)*text);
	}
}

static void
say_number(uint64_t n)
{
	char text[24];
	char *at = text + sizeof(text) - 1;

	*at = '\0';
	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n != 0);
	say(at);
}

__attribute__((interrupt)) static void
timer_interrupt(void *frame)
{
	(void)frame;
	ticks++;
	out8(0x20, 0x20);
}

__attribute__((interrupt)) static void
serial_interrupt(void *frame)
{
	(void)frame;
	out8(0x20, 0x20);
}

static void
set_gate(uint32_t n, void (*handler)(void *))
{
	uint64_t at = (uint64_t)handler;

	idt[n] = (struct gate){.low = (uint16_t)at,
		.selector = 8,
		.type = 0x8e,
		.middle = (uint16_t)(at >> 16),
		.high = (uint32_t)(at >> 32)};
}

/** Only these interrupts come from now on. */
static void
listen_to(uint8_t irqs)
{
	out8(0x21, (uint8_t)~irqs);
}

static void
set_up_interrupts(uint32_t hz)
{
	static const uint8_t words[] = {0x11, IRQ_BASE, 4, 1};
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) where = {sizeof(idt) - 1, (uint64_t)idt};

	set_gate(IRQ_BASE, timer_interrupt);
	set_gate(IRQ_BASE + 4, serial_interrupt);
	__asm__ volatile("lidt %0" : : "m"(where));
	for (uint32_t i = 0; i < sizeof(words); i++)
		out8(i == 0 ? 0x20 : 0x21, words[i]);
	out8(0xa1, 0xff);
	out8(0x43, 0x34);
	out8(0x40, (uint8_t)(PIT_HZ / hz));
	out8(0x40, (uint8_t)(PIT_HZ / hz >> 8));
	out8(COM1 + 1, 1); /* an interrupt for what comes in */
	out8(COM1 + 2, 1); /* FIFO */
	out8(COM1 + 3, 3);
	out8(COM1 + 4, 0x0b);
	listen_to(IRQ_TIMER);
}

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t *
page_at(uint32_t n)
{
	const struct region *r = regions;

	for (; n >= r->n_pages; r++)
		n -= r->n_pages;
	return r->words + n * PAGE_WORDS;
}

/* Depends on the order of the words, so that exchanged words are noticed as well. */
static uint64_t
page_checksum(const uint64_t *page)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < PAGE_WORDS; i++)
		sum = (sum << 1 | sum >> 63) + page[i];
	return sum;
}

static void
flush_tlb(void)
{
	__asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
}

/*
 * A tenth of the pages becomes zero. QEMU 11.1 under TCG does not notice writes to any block of RAM
 * but its first through a TLB entry that is older than the last look at what is dirty: it would
 * keep an old page. So entries are thrown away before the page is written, and again before it is
 * touched once more, for a checkpoint may have come in the middle of it.
 */
static void
rewrite_page(uint32_t n)
{
	uint64_t *page = page_at(n);
	uint64_t step = next_random() | 1, word = next_random();

	if (step % 10 == 1)
		step = word = 0;
	flush_tlb();
	for (uint32_t i = 0; i < PAGE_WORDS; i++)
		page[i] = word += step;
	flush_tlb();
	*(volatile uint64_t *)page = page[0];
	page_sum[n] = page_checksum(page);
}

static bool
data_is_right(void)
{
	for (uint32_t n = 0; n < n_pages; n++)
		if (page_checksum(page_at(n)) != page_sum[n])
			return false;
	return true;
}

/** Decimal or 0x... */
static uint64_t
number(const char **text)
{
	uint64_t value = 0, base = 10;
	const char *at = *text;

	if (at[0] == '0' && at[1] == 'x') {
		base = 16;
		at += 2;
	}
	for (;; at++) {
		if (*at >= '0' && *at <= '9')
			value = value * base + (uint64_t)(*at - '0');
		else if (base == 16 && *at >= 'a' && *at <= 'f')
			value = value * base + (uint64_t)(*at - 'a' + 10);
		else
			break;
	}
	*text = at;
	return value;
}

/** What follows "name" in the command line, or NULL. */
static const char *
option(const char *cmdline, const char *name)
{
	for (; *cmdline != '\0'; cmdline++) {
		uint32_t i = 0;

		while (name[i] != '\0' && cmdline[i] == name[i])
			i++;
		if (name[i] == '\0')
			return cmdline + i;
	}
	return 0;
}

static uint32_t
option_number(const char *cmdline, const char *name, uint32_t other)
{
	const char *at = option(cmdline, name);

	return at != 0 ? (uint32_t)number(&at) : other;
}

static void
add_region(uint64_t address, uint64_t pages)
{
	if (n_regions == MAX_REGIONS || address == 0 || pages > MAX_PAGES - n_pages) {
		say("GUEST does not take its command line\r\n");
		for (;;)
			__asm__ volatile("cli; hlt");
	}
	regions[n_regions++] = (struct region){(uint64_t *)address, (uint32_t)pages};
	n_pages += (uint32_t)pages;
}

/** Where the VGA's memory is, 0 if there is none. */
static uint64_t
vga_memory(void)
{
	for (uint32_t device = 0; device < 32; device++)
		if (pci_read(device, 0) != UINT32_MAX && pci_read(device, 8) >> 24 == 3)
			return pci_read(device, 0x10) & ~15u;
	return 0;
}

static void
find_data(const char *cmdline)
{
	const char *at = option(cmdline, "data=");
	uint32_t vga = option_number(cmdline, "vga=", 0);
	uint64_t address;

	while (at != 0 && *at != '\0' && *at != ' ') {
		address = number(&at);
		at += *at == '+';
		add_region(address, number(&at));
		at += *at == ',';
	}
	if (vga != 0)
		add_region(vga_memory() != 0 ? vga_memory() + VGA_OFFSET : 0, vga);
	for (uint32_t n = 0; n < n_pages; n++)
		rewrite_page(n);
}

static void
turn(uint64_t count, uint32_t dirty)
{
	for (uint32_t i = 0; i < dirty && n_pages != 0; i++)
		rewrite_page((uint32_t)(next_random() % n_pages));
	say("COUNTER ");
	say_number(count);
	say(data_is_right() ? " CHECKSUM ok\r\n" : " CHECKSUM BAD\r\n");
}

/** @return a command, or 0 if none has come. */
static uint8_t
command(void)
{
	return (in8(COM1 + 5) & 1) != 0 ? in8(COM1) : 0;
}

/** Stand still, without a byte being written, until a command comes. */
static uint8_t
wait_for_command(void)
{
	uint8_t said;

	say("QUIET\r\n");
	__asm__ volatile("cli");
	listen_to(IRQ_SERIAL);
	while ((said = command()) == 0)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	listen_to(IRQ_TIMER);
	__asm__ volatile("sti");
	return said;
}

/** After a turn: wait for the next, as long as commands want. @return the last command. */
static uint8_t
wait_for_turn(uint8_t said, uint32_t seen)
{
	uint8_t next = command();

	said = next != 0 ? next : said;
	while (said != 'g') {
		said = wait_for_command();
		if (said == 's')
			return said;
	}
	while (ticks == seen)
		__asm__ volatile("hlt");
	return said;
}

void tiny_main(const struct multiboot_info *info);

void
tiny_main(const struct multiboot_info *info)
{
	const char *cmdline = (info->flags & 4) != 0 ? (const char *)(uint64_t)info->cmdline : "";
	uint32_t dirty = option_number(cmdline, "dirty=", 64);
	uint32_t hz = option_number(cmdline, "hz=", 50), seen;
	uint8_t said = 'g';

	set_up_interrupts(hz >= 19 && hz <= 1000 ? hz : 50);
	find_data(cmdline);
	__asm__ volatile("sti");
	for (uint64_t count = 1;; count++) {
		seen = ticks;
		turn(count, dirty);
		said = wait_for_turn(said, seen);
	}
}
