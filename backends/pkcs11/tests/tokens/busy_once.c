/* Another module in front of one that is there: as that, but the first call of one function fails, as while
 * another process writes the token.
 *
 * cc -shared -fPIC -DMODULE='"/path/of/the/module.so"' -DBUSY=29
 *
 * BUSY: which, counted from 0: C_FindObjectsInit is 26, C_EncryptInit 29. */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef unsigned long number;
typedef number (*function)(void);
typedef number (*begin)(number session, void *what, number number_of_it);

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version, then functions in a fixed order. */
struct list {
	unsigned char version[2];
	function functions[68];
};

static struct list ours;
static begin theirs;
static int calls;

static number busy(number session, void *what, number number_of_it)
{
	/* CKR_GENERAL_ERROR */
	return calls++ == 0 ? 5 : theirs(session, what, number_of_it);
}

number C_GetFunctionList(struct list **list)
{
	void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
	number (*get)(struct list **) = module ? (number (*)(struct list **))dlsym(module, "C_GetFunctionList") : NULL;
	struct list *found;
	/* CKR_GENERAL_ERROR */
	if (!get || get(&found) != 0)
		return 5;
	memcpy(&ours, found, sizeof ours);
	theirs = (begin)ours.functions[BUSY];
	ours.functions[BUSY] = (function)busy;
	*list = &ours;
	return 0;
}
