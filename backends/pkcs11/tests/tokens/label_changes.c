/* Another module in front of one that is there: as that, but for C_SetAttributeValue of a label.
 *
 * cc -shared -fPIC -DMODULE='"/path/of/the/module.so"' -DRETURNS=0x10 -DDOES=0
 *
 * DOES: whether the label is changed before the call returns RETURNS. */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef unsigned long number;
typedef number (*function)(void);
typedef number (*set_attribute_value)(number session, number object, void *template, number count);

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version, then functions in a fixed order. */
struct list {
	unsigned char version[2];
	function functions[68];
};

/* CK_ATTRIBUTE */
struct attribute {
	number type;
	void *value;
	number length;
};

static struct list ours;
static set_attribute_value theirs;

static number set(number session, number object, void *template, number count)
{
	const struct attribute *attributes = template;
	/* CKA_LABEL */
	if (count != 1 || attributes[0].type != 3)
		return theirs(session, object, template, count);
	if (DOES)
		theirs(session, object, template, count);
	return RETURNS;
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
	/* The 26th function. */
	theirs = (set_attribute_value)ours.functions[25];
	ours.functions[25] = (function)set;
	*list = &ours;
	return 0;
}
