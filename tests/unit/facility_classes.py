"""Facility classes of every shape that is in use, for the tests: none of them is any good.

The first part follows classes that people have installed, each named in its docstring; the
second holds what else a class may do. `tom_auto.observatories.facilities` has to get along with all of them.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import warnings
from pathlib import Path
from threading import Event

import requests
from django.conf import settings
from django.core.files.base import ContentFile
from tom_dataproducts.models import DataProduct
from tom_observations.facilities.lco import LCOFacility
from tom_observations.facility import BaseObservationFacility, BaseRoboticObservationFacility
from tom_observations.models import ObservationRecord

import forked


class Pages:
    """The methods that only the pages of a TOM call."""

    get_form = submit_observation = validate_observation = None
    get_observing_sites = get_observation_url = None


class Robotic(Pages, BaseRoboticObservationFacility):
    """A class without a fault, from which those below differ in one respect."""

    def get_terminal_observing_states(self):
        return ['DONE']

    def get_observation_status(self, observation_id):
        return {'state': 'DONE', 'scheduled_start': None, 'scheduled_end': None}

    def data_products(self, observation_id, product_id=None):
        return []


# --- as in the wild ---


class Eso(Robotic):
    """tom_eso: logs in over the network as soon as it gets a user, and returns nothing."""

    name = 'ESO'

    def set_user(self, user):
        super().set_user(user)
        requests.get(settings.FACILITIES['ESO']['login_url'])

    def get_terminal_observing_states(self):
        pass

    def get_observation_status(self, observation_id):
        raise NotImplementedError

    def data_products(self, observation_id, product_id=None):
        raise NotImplementedError


class Swift(Pages, BaseObservationFacility):
    """tom_swift: not robotic, no question takes an id, and saving wants a target."""

    name = 'Swift'

    def get_terminal_observing_states(self):
        return ['Completed', 'Failed', 'Canceled']

    def get_observation_status(self):
        raise NotImplementedError('SwiftFacility.get_observation_status not yet implemented')

    def data_products(self, observation_id, product_id=None):
        return []

    def save_data_products(self, observation_record, target, product_id=None):
        return []


class Keck(Robotic):
    """Keck, CFHT, SALT: made by leaving out the arguments of every method."""

    name = 'Keck'

    def get_terminal_observing_states(self):
        pass

    def get_observation_status(self):
        pass

    def data_products(self):
        pass


class Apo(Robotic):
    """APO, Jilin, Xinglong, REM: the status is a list."""

    name = 'APO'

    def get_observation_status(self, observation_id):
        return ['IN_PROGRESS']


class Goats(Robotic):
    """GOATS: writes status and parameters itself, leaves the saving to a task of its own."""

    name = 'GOATS'

    def update_observation_status(self, observation_id):
        status = self.get_observation_status(observation_id)
        for record in ObservationRecord.objects.filter(observation_id=observation_id):
            record.status = status['state']
            record.parameters = {**record.parameters, 'gpp_id': 'o-1'}
            record.save()

    def update_all_observation_statuses(self, target=None):
        raise NotImplementedError

    def save_data_products(self, observation_record, product_id=None, request=None):
        raise NotImplementedError('Data products should be downloaded by background task.')

    def data_products(self, observation_record, product_id=None):
        return list(DataProduct.objects.filter(observation_record__pk=observation_record.pk))


class Mmt(Robotic):
    """MMT: adds dictionaries to a list, which adds their keys."""

    name = 'MMT'

    def data_products(self, observation_id, product_id=None):
        products = []
        products += {'id': 7, 'filename': 'image.fits', 'url': 'http://127.0.0.1:9/image.fits'}
        return products


class Anu(Robotic):
    """ANU: an empty dictionary where it knows nothing, and its password on the screen."""

    name = 'ANU'
    known = {}

    def get_terminal_observing_states(self):
        return ['Succeeded', 'Rejected']

    def get_observation_status(self, observation_id):
        print('logging in as me with', settings.FACILITIES['ANU']['password'])  # noqa: T201
        return self.known


class Manual(Pages, BaseObservationFacility):
    """A manual facility with the least that the page needs."""

    name = 'Manual'

    def get_terminal_observing_states(self):
        return ['Completed']


# --- what else there may be ---


class Says(Robotic):
    """Answers whatever a test wants to hear."""

    name = 'Says'
    answer: object = None
    products: object = ()

    def get_observation_status(self, observation_id):
        return self.answer

    def data_products(self, observation_id, product_id=None):
        return self.products


class NoStates(Robotic):
    """Does not say which of its states are terminal."""

    name = 'NoStates'

    def get_terminal_observing_states(self):
        raise NotImplementedError


class Abstract(Pages, BaseRoboticObservationFacility):
    """Lacks what its base class demands, so that nobody can make one."""

    name = 'Abstract'


class Unconfigured(Robotic):
    """Needs settings that are missing."""

    name = 'Unconfigured'

    def __init__(self):
        super().__init__()
        self.url = {}['portal_url']


class LazyProducts(Robotic):
    """Lists products as they come, and stumbles over the second."""

    name = 'LazyProducts'

    def data_products(self, observation_id, product_id=None):
        yield {'id': 'lazy-1', 'filename': 'a.csv', 'url': settings.FACILITIES['Lazy']['url']}
        raise ZeroDivisionError('a mistake')


class NoneForProducts(Robotic):
    """Has no products, and says so in its own way."""

    name = 'NoneForProducts'

    def data_products(self, observation_id, product_id=None):
        return None


class Saves(Robotic):
    """Has its own save_data_products."""

    name = 'Saves'
    content = b'wavelength,flux'

    def save_data_products(self, observation_record, product_id=None):
        product, created = DataProduct.objects.get_or_create(
            product_id=f'{self.name}-{observation_record.pk}',
            target=observation_record.target,
            observation_record=observation_record,
        )
        if created and self.content:
            product.data.save('spectrum.csv', ContentFile(self.content))
        return [product]


class SavesInTwoSteps(Robotic):
    """Saves one product, and another when somebody says so."""

    name = 'SavesInTwoSteps'

    def save_data_products(self, observation_record, product_id=None):
        steps = Path(settings.FACILITIES['SavesInTwoSteps']['steps'])
        for number in (1, 2):
            target = observation_record.target
            DataProduct.objects.create(
                product_id=str(number), target=target, observation_record=observation_record
            )
            (steps / f'saved {number}').touch()
            forked.wait_until((steps / 'go on').exists)


class SavesWithoutIds(Robotic):
    """Saves one product, and another when somebody says so, and gives neither an id."""

    name = 'SavesWithoutIds'

    def save_data_products(self, observation_record, product_id=None):
        steps = Path(settings.FACILITIES['SavesWithoutIds']['steps'])
        for number in (1, 2):
            product = DataProduct(
                target=observation_record.target, observation_record=observation_record
            )
            product.data.save(f'{number}.csv', ContentFile(b'wavelength,flux'))
            (steps / f'saved {number}').touch()
            forked.wait_until((steps / 'go on').exists)
            if (steps / 'raise').exists():
                raise RuntimeError('no more today')


class SavesNothing(Saves):
    """Leaves a row without a file, as tomtoolkit's own method does when a download fails."""

    name = 'SavesNothing'
    content = b''


class SavesPages(Saves):
    """Saves whatever comes, as tomtoolkit's own method does."""

    name = 'SavesPages'
    content = b'<!DOCTYPE html><html>Service unavailable</html>'


class Accounts(Robotic):
    """Has credentials for each user, and tells whose it uses."""

    name = 'Accounts'

    def get_observation_status(self, observation_id):
        return str(self.user)


class Hangs(Robotic):
    """Waits for something that does not come, and has been told not to listen to anybody."""

    name = 'Hangs'

    def get_observation_status(self, observation_id):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Event().wait()


class HangsInAnUpdate(Robotic):
    """Has its own way to keep a status up to date, which does not end."""

    name = 'HangsInAnUpdate'

    def update_observation_status(self, observation_id):
        Event().wait()


class Crashes(Robotic):
    """Takes its process along, as mistakes in a library written in C do."""

    name = 'Crashes'

    def get_observation_status(self, observation_id):
        faulthandler.disable()  # pytest's, whose page of frames would look like a fault of the tests
        os.kill(os.getpid(), signal.SIGSEGV)


class Exits(Robotic):
    """Ends the program, as scripts do that became a class."""

    name = 'Exits'

    def get_observation_status(self, observation_id):
        sys.exit('wrong password')


class MainThread(Robotic):
    """Asks by a client that has an event loop, and ends it with an alarm: both want a main thread."""

    name = 'MainThread'

    def get_observation_status(self, observation_id):
        signal.signal(signal.SIGALRM, lambda *args: None)
        signal.alarm(5)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            loop = asyncio.get_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        signal.alarm(0)
        return 'DONE'


class Login(Robotic):
    """Logs in as soon as it is given a user, and the password of one of them is wrong."""

    name = 'Login'

    def set_user(self, user):
        with Path(settings.FACILITIES['Login']['log']).open('a') as log:
            log.write(f'{user}\n')
        if user.username == 'bob':
            raise RuntimeError('no, not you')


class Broken(Robotic):
    """Has a mistake in it."""

    name = 'Broken'

    def get_observation_status(self, observation_id):
        raise ZeroDivisionError('a mistake')


class OwnArchive(LCOFacility):
    """A user's subclass of LCO's class that lists frames in its own way."""

    name = 'OwnArchive'

    def data_products(self, observation_id, product_id=None):
        return super().data_products(observation_id, product_id)[:1]
