/* Another module in front of one that is there: as that, but for C_GetTokenInfo of one slot, which fails.
 *
 * cc -shared -fPIC -DMODULE='"/path/of/the/module.so"' -DSLOT=4711 */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef unsigned long number;
typedef number (*function)(void);
typedef number (*get_token_info)(number slot, void *info);

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version, then functions in a fixed order. */
struct list {
	unsigned char version[2];
	function functions[68];
};

static struct list ours;
static get_token_info theirs;

static number tell(number slot, void *info)
{
	/* CKR_GENERAL_ERROR */
	return slot == SLOT ? 5 : theirs(slot, info);
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
	/* The 7th function. */
	theirs = (get_token_info)ours.functions[6];
	ours.functions[6] = (function)tell;
	*list = &ours;
	return 0;
}
