/* Another module in front of one that is there: as that, but each wrap and unwrap goes wrong as a file says.
 *
 * cc -shared -fPIC -DMODULE='"/path/of/the/module.so"' -DTROUBLE='"/path/of/the/file"'
 *
 * In the file: "fail N" (C_EncryptInit and C_DecryptInit return N), "slow" (they take a fifth of a second), "flip" (one bit
 * of what C_Decrypt gives is another one), "keep" (it is remembered), "swap" (what was remembered comes in its place),
 * "break N" (C_Decrypt returns N, once).
 * Each of those calls writes a byte to the file's name with ".calls". */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long number;
typedef number (*function)(void);
typedef number (*begin)(number session, void *mechanism, number key);
typedef number (*decrypt)(number session, void *in, number in_length, unsigned char *out, number *out_length);

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version, then functions in a fixed order. */
struct list {
	unsigned char version[2];
	function functions[68];
};

enum { ENCRYPT_INIT = 29, DECRYPT_INIT = 33, DECRYPT = 34 };

static struct list ours, theirs;
static char trouble[32];
static unsigned char kept[64];
static int broke;

static number began(int which, number session, void *mechanism, number key)
{
	number code;
	FILE *file = fopen(TROUBLE, "r");
	trouble[0] = 0;
	if (file) {
		if (!fgets(trouble, sizeof trouble, file))
			trouble[0] = 0;
		fclose(file);
	}
	file = fopen(TROUBLE ".calls", "a");
	if (file) {
		fputc('.', file);
		fclose(file);
	}
	if (strncmp(trouble, "break", 5) != 0)
		broke = 0;
	if (sscanf(trouble, "fail %lu", &code) == 1)
		return code;
	if (strcmp(trouble, "slow") == 0)
		usleep(200 * 1000);
	return ((begin)theirs.functions[which])(session, mechanism, key);
}

static number encrypt_begins(number session, void *mechanism, number key)
{
	return began(ENCRYPT_INIT, session, mechanism, key);
}

static number decrypt_begins(number session, void *mechanism, number key)
{
	return began(DECRYPT_INIT, session, mechanism, key);
}

static number decrypts(number session, void *in, number in_length, unsigned char *out, number *out_length)
{
	number instead, code = ((decrypt)theirs.functions[DECRYPT])(session, in, in_length, out, out_length);
	/* Without a place for it, only its length is asked for. */
	if (code != 0 || !out || *out_length == 0 || *out_length > sizeof kept)
		return code;
	if (sscanf(trouble, "break %lu", &instead) == 1 && !broke++)
		return instead;
	if (strcmp(trouble, "flip") == 0)
		out[0] ^= 1;
	if (strcmp(trouble, "keep") == 0)
		memcpy(kept, out, *out_length);
	if (strcmp(trouble, "swap") == 0)
		memcpy(out, kept, *out_length);
	return code;
}

number C_GetFunctionList(struct list **list)
{
	void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
	number (*get)(struct list **) = module ? (number (*)(struct list **))dlsym(module, "C_GetFunctionList") : NULL;
	struct list *found;
	/* CKR_GENERAL_ERROR */
	if (!get || get(&found) != 0)
		return 5;
	memcpy(&theirs, found, sizeof theirs);
	memcpy(&ours, found, sizeof ours);
	ours.functions[ENCRYPT_INIT] = (function)encrypt_begins;
	ours.functions[DECRYPT_INIT] = (function)decrypt_begins;
	ours.functions[DECRYPT] = (function)decrypts;
	*list = &ours;
	return 0;
}
