"""The pictures of what came in: drawn once, small, outside of every page; what cannot be drawn says so."""

import base64
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Timer
from time import monotonic

import numpy as np
import pytest
from astropy.io import fits
from django.core.files.storage import FileSystemStorage
from django.utils import timezone
from PIL import Image
from tom_dataproducts.models import DataProduct, PhotometryReducedDatum
from tom_targets.models import Target

from machine import within
from tom_auto.arrivals import drawing_program, pictures
from tom_auto.arrivals.models import Arrival
from tom_auto.arrivals.noting import note_arrivals
from tom_auto.files.storage_id import MARK, accept_storage
from tom_auto.models import StoredFrame
from tom_auto.sync import products

from .page import stored
from .running import updatedata

#: The most that a picture of 4096 x 4096 pixels, compressed in one of the usual ways, may cost.
CPU, MEMORY = 0.150, 100_000_000
PRODUCTS = '/dataproducts/data/'
NOISE = np.random.default_rng(1)


def image(height=300, width=400, kind='f4'):
    return NOISE.normal(300, 10, (height, width)).astype(kind)


def in_file(*units):
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(file)
    return file.getvalue()


def compressed(data, tile=None, kind='RICE_1'):
    tile = tile or (1, data.shape[1])
    return in_file(fits.CompImageHDU(data, name='SCI', compression_type=kind, tile_shape=tile))


def damaged(content):
    broken = bytearray(content)
    for place in range(len(broken) // 2, len(broken), 7):
        broken[place] ^= 0x5A
    return bytes(broken)


def sparse(width, height):
    """The header of a huge image, and how long its file has to be."""
    cards = [('SIMPLE', True), ('BITPIX', -32), ('NAXIS', 2), ('NAXIS1', width), ('NAXIS2', height)]
    return fits.Header(cards).tostring().encode(), 2880 + width * height * 4


def half_known():
    data = image()
    data[:100] = np.nan
    data[:, :50] = np.inf
    return data


FILES = {
    'plain.fits': lambda: in_file(fits.ImageHDU(image())),
    'integers.fits.fz': lambda: compressed(image(kind='i2')),
    'tiles.fits.fz': lambda: compressed(image(kind='i2'), tile=(64, 100)),
    'one_tile.fits.fz': lambda: compressed(image(kind='i2'), (300, 400), 'HCOMPRESS_1'),
    'floats.fits.fz': lambda: compressed(image()),
    'packed.fits.gz': lambda: gzip.compress(in_file(fits.ImageHDU(image()))),
    'amplifiers.fits': lambda: in_file(*(fits.ImageHDU(image(200, 90 + i)) for i in range(4))),
    'cube.fits': lambda: in_file(fits.ImageHDU(np.stack([image(), image()]))),
    'cube_of_cubes.fits': lambda: in_file(fits.ImageHDU(image()[None, None])),
    'cube.fits.fz': lambda: compressed(image()[None, None], (1, 1, 1, 400)),
    'half_known.fits': lambda: in_file(fits.ImageHDU(half_known())),
    'constant.fits': lambda: in_file(fits.ImageHDU(np.ones((50, 60)))),
    'strip.fits': lambda: in_file(fits.ImageHDU(image(3, 4000))),
}
NOT_DRAWN = {
    'spectrum.fits': (lambda: in_file(fits.ImageHDU(np.arange(2000.0))), 'no image', ''),
    'table.fits': (
        lambda: in_file(
            fits.BinTableHDU.from_columns([fits.Column('a', 'E', array=np.ones(5))])
        ),
        'no image', '',
    ),
    'notes.txt': (lambda: b'seeing 1.2', 'no image', ''),
    'unknown.fits': (lambda: in_file(fits.ImageHDU(image() * np.nan)), 'broken', 'has a value'),
    'damaged.fits.fz': (lambda: damaged(compressed(image(kind='i2'))), 'broken', 'decompress'),
    'stump.fits.fz': (lambda: compressed(image())[:40_000], 'broken', ''),
    'page.fits': (lambda: b'<html>', 'broken', 'not a FITS file'),
    'wide.fits': (lambda: sparse(2**32, 100)[0] + bytes(2880), 'broken', 'Unable to allocate'),
    'before_its_beginning.fits': (
        lambda: in_file(fits.ImageHDU(image(60, 70))).replace(
            b'PCOUNT  =                    0', b'PCOUNT  =          -2147483648'
        ),
        'broken', 'breaks off',
    ),
    'huge_tiles.fits.fz': (
        lambda: compressed(np.zeros((9000, 9000), 'i2'), (3000, 3000), 'HCOMPRESS_1'),
        'broken', 'too many',
    ),
}  # fmt: skip


@pytest.fixture
def came(add_record, media):
    """Makes a frame that came in, with this content in its file."""

    def come(name, content):
        file = media / name
        file.write_bytes(content)
        product = stored(add_record(), name).product
        product.data.name = name
        product.save()
        note_arrivals([('LCO', product)])
        return Arrival.objects.get(product=product)

    return come


@pytest.fixture
def boss(login):
    return login('boss', is_superuser=True)


def drawn(*arrivals):
    pictures.draw([one.pk for one in arrivals], seconds=60)
    for one in arrivals:
        one.refresh_from_db()
    return arrivals[0]


def several_drawn(came):
    """Four frames with pictures, in two folders; that of the last is not tomtoolkit's page's first."""
    arrivals = [came(f'{n}.fits', FILES['plain.fits']()) for n in range(4)]
    drawn(*arrivals)
    old = arrivals[-1].product.thumbnail
    with old.open() as file:
        name = old.storage.save(old.name.replace('previews/0/', 'previews/7/'), file)
    DataProduct.objects.filter(pk=arrivals[-1].product_id).update(thumbnail=name)
    old.storage.delete(old.name)
    for arrival in arrivals:
        arrival.refresh_from_db()
    return arrivals


def after_a_pause():
    """It is time to try again what could not be read."""
    Arrival.objects.filter(not_before__gt=timezone.now()).update(not_before=timezone.now())


def pixels(arrival):
    with arrival.product.thumbnail.open() as file:
        return np.asarray(Image.open(file))


@pytest.mark.django_db
class TestDrawing:
    @pytest.mark.parametrize('name', FILES)
    def test_every_kind_of_image_becomes_a_small_jpeg(self, came, media, name):
        arrival = drawn(came(name, FILES[name]()))
        assert (arrival.picture, arrival.trouble) == ('drawn', '')
        got = pixels(arrival)
        assert got.shape == (200, 200)
        assert got.max() > 0 or name == 'constant.fits'
        assert len((media / arrival.product.thumbnail.name).read_bytes()) < 25_000

    def test_what_is_faint_is_seen_where_it_is(self, came):
        """A patch of half the noise, in the upper right of an image with one very bright pixel."""
        data = image(1000, 1000)
        data[800:, 800:] += 5
        data[10, 10] = 1e6
        got = pixels(drawn(came('faint.fits', in_file(fits.ImageHDU(data))))).astype(int)
        assert got[:40, 160:].mean() > got[100:, :100].mean() + 25

    @pytest.mark.parametrize(
        'kind',
        {
            'huge': lambda data: data * 1e300,
            'small': lambda data: data * 1e-300,
            'big': lambda data: (data * 1e35).astype('f4'),
            'beside the largest': lambda data: np.where(data > 310, np.finfo('f8').max, data),
            'colours': lambda data: np.stack([data, data * 0, data * 0], -1),
            'transparent': lambda data: np.stack([data] * 4, -1),
        }.items(),
        ids=lambda kind: kind[0],
    )
    def test_numbers_and_shapes_of_all_kinds(self, came, kind):
        """The upper half is brighter; a picture is 200 high, and as wide as the image is."""
        data = image(300, 100, 'f8')
        data[150:] += 50
        data[data > 340] = 340
        got = pixels(drawn(came('odd.fits', in_file(fits.ImageHDU(kind[1](data))))))
        wide = got.max(axis=0) > 40
        assert 60 <= np.count_nonzero(wide) <= 75
        assert got[10:90, wide].mean() > got[110:190, wide].mean() + 50

    @pytest.mark.parametrize('name', NOT_DRAWN)
    def test_what_cannot_be_drawn_says_so_once(self, came, name, caplog):
        make, state, words = NOT_DRAWN[name]
        with caplog.at_level('INFO'):
            arrival = drawn(came(name, make()))
            drawn(arrival)
        assert arrival.picture == state
        assert words in arrival.trouble
        assert not arrival.product.thumbnail
        assert caplog.text.count(name) == (state == 'broken')

    def test_thirty_thousand_pixels_squared(self, came, media):
        header, size = sparse(30_000, 30_000)
        arrival = came('huge.fits', header)
        with (media / 'huge.fits').open('r+b') as file:
            file.truncate(size)  # which takes no room on the disk
        assert drawn(arrival).picture == 'drawn'

    def test_a_file_that_kills_the_program_waits_and_the_next_is_drawn(
        self, came, monkeypatch, tmp_path
    ):
        good = FILES['plain.fits']()
        first, second = came('deadly.fits', good), came('plain.fits', good)
        program = tmp_path / 'program.py'
        crash = "if 'deadly' in line: import os; os.kill(os.getpid(), 11)\n        "
        code = drawing_program.DRAWING.read_text().replace('asked = json', f'{crash}asked = json')
        program.write_text(code)
        monkeypatch.setattr(drawing_program, 'DRAWING', program)
        drawn(first, second)
        assert (first.picture, first.trouble) == ('waiting', 'it stops the program that draws it')
        assert not first.is_to_draw
        assert second.picture == 'drawn'

    def test_one_that_takes_too_long_is_given_up(self, came, monkeypatch, tmp_path):
        program = tmp_path / 'program.py'
        program.write_text('import time\ntime.sleep(60)')
        monkeypatch.setattr(drawing_program, 'DRAWING', program)
        monkeypatch.setattr(drawing_program, 'SLOWEST', 0.2)
        assert drawn(came('a.fits', FILES['plain.fits']())).trouble == 'it takes too long'

    def test_what_does_not_end_holds_nobody(self, came, monkeypatch, tmp_path):
        """Whoever has left a child behind keeps the output open, as a disk that hangs keeps a process."""
        program = tmp_path / 'program.py'
        program.write_text('import subprocess\nsubprocess.run(["sleep", "20"])')
        monkeypatch.setattr(drawing_program, 'DRAWING', program)
        monkeypatch.setattr(drawing_program, 'SLOWEST', 0.5)
        monkeypatch.setattr(drawing_program, 'ENDING', 0.2)
        begun = monotonic()
        assert drawn(came('a.fits', FILES['plain.fits']())).trouble == 'it takes too long'
        assert monotonic() - begun < 10

    def test_what_was_ended_meanwhile_says_nothing_of_the_file(self, monkeypatch, tmp_path):
        program, one = tmp_path / 'program.py', drawing_program.Program()
        program.write_text('import time\ntime.sleep(60)')
        monkeypatch.setattr(drawing_program, 'DRAWING', program)
        monkeypatch.setattr(drawing_program, 'SLOWEST', 0.2)
        monkeypatch.setattr(one, 'stop', lambda: None)  # it may still be answering
        Timer(0.05, one.end).start()
        with pytest.raises(drawing_program.NobodyWaits):
            one.draw('a.fits')
        drawing_program.Program.stop(one)

    def test_a_file_that_is_away_is_tried_again(self, came, media):
        arrival = came('a.fits', FILES['plain.fits']())
        (media / 'a.fits').rename(media / 'b.fits')
        assert drawn(arrival).picture == 'waiting'
        (media / 'b.fits').rename(media / 'a.fits')
        after_a_pause()
        assert drawn(arrival).picture == 'drawn'

    @pytest.mark.parametrize('error', ['OSError(5, "Input/output error")', 'MemoryError()'])
    def test_what_cannot_be_read_for_a_moment_is_tried_again_after_a_pause(
        self, came, monkeypatch, tmp_path, caplog, error
    ):
        program, asked = tmp_path / 'program.py', tmp_path / 'asked'
        fault = f"open({str(asked)!r}, 'a').write('x'); raise {error}\n    "
        code = drawing_program.DRAWING.read_text()
        program.write_text(code.replace('with fits.open', f'{fault}with fits.open'))
        arrival = came('a.fits', FILES['plain.fits']())
        with monkeypatch.context() as patched:
            patched.setattr(drawing_program, 'DRAWING', program)
            for _ in range(3):
                assert drawn(arrival).picture == 'waiting'
            after_a_pause()
            assert drawn(arrival).picture == 'waiting'
        assert asked.read_text() == 'xx'
        assert caplog.text.count('No picture of a.fits yet') == 1
        after_a_pause()
        assert (drawn(arrival).picture, arrival.trouble) == ('drawn', '')

    def test_a_hook_that_saves_an_old_product_takes_no_picture_away(self, came):
        arrival = came('a.fits', FILES['plain.fits']())
        held = DataProduct.objects.get()
        drawn(arrival)
        held.save()
        arrival = Arrival.objects.get()
        assert arrival.is_undrawn
        assert drawn(arrival).product.thumbnail
        assert not arrival.is_undrawn

    def test_a_file_that_is_gone_is_said_once_and_drawn_when_it_is_back(self, came, media, caplog):
        caplog.set_level('INFO')
        accept_storage()
        arrival = came('a.fits', FILES['plain.fits']())
        (media / 'a.fits').rename(media / 'away.fits')
        for _ in range(2):
            assert drawn(arrival).picture == 'gone'
        said = [record.getMessage() for record in caplog.records]
        assert said.count('There is no picture of a.fits: its file is gone') == 1
        (media / 'away.fits').rename(media / 'a.fits')  # by hand: nobody notes it
        assert drawn(arrival).picture == 'drawn'

    def test_a_picture_that_is_gone_is_drawn_again(self, came, client, media):
        accept_storage()
        arrival = came('a.fits', FILES['plain.fits']())
        Target.objects.update(permissions='OPEN')
        picture, address = (
            drawn(arrival).product.thumbnail,
            f'/automation/arrivals/{arrival.pk}.jpg',
        )
        mark = (media / MARK).rename(media / 'away')
        (media / picture.name).unlink()
        assert client.get(address).status_code == 404
        arrival.refresh_from_db()
        assert arrival.picture == 'drawn'  # its storage may be away
        (media / MARK).mkdir()  # which cannot be read
        assert client.get(address).status_code == 404
        (media / MARK).rmdir()
        mark.rename(media / MARK)
        assert client.get(address).status_code == 404
        assert drawn(arrival).picture == 'drawn'
        assert client.get(address).status_code == 200

    @pytest.mark.parametrize('lost', ['the folder', 'a folder in it', 'one', 'of another run'])
    def test_no_page_of_tomtoolkit_fails_for_pictures_that_are_gone(
        self, came, client, boss, media, lost
    ):
        accept_storage()
        arrivals = several_drawn(came)
        places = [media / each.product.thumbnail.name for each in arrivals]
        assert client.get(PRODUCTS).status_code == 200
        gone = {'the folder': media / 'previews', 'a folder in it': places[0].parent}.get(lost)
        if gone:
            shutil.rmtree(gone)
        for place in () if gone else places[: 1 if lost == 'one' else 3]:
            place.unlink()
        answer = client.get(PRODUCTS, {'page': 1}, follow=True)
        assert answer.status_code == 200
        assert answer.redirect_chain == [(f'{PRODUCTS}?page=1', 302)]
        assert drawn(*Arrival.objects.order_by('pk')).product.thumbnail
        kept = DataProduct.objects.filter(thumbnail__startswith='previews/').order_by('pk')
        assert all((media / each.thumbnail.name).exists() for each in kept)
        assert client.get(PRODUCTS).status_code == 200

    def test_without_the_middleware_only_the_first_look_fails(
        self, came, client, boss, media, settings
    ):
        accept_storage()
        several_drawn(came)
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if 'tom_auto' not in each]
        client.raise_request_exception = False
        shutil.rmtree(media / 'previews')
        assert [client.get(PRODUCTS).status_code for _ in range(2)] == [500, 200]

    def test_pictures_of_a_storage_that_is_away_are_not_forgotten(self, came, client, boss, media):
        """Its files are still there: tomtoolkit's page fails, and works when it is back."""
        accept_storage()
        several_drawn(came)
        client.raise_request_exception = False
        away = media.rename(media.with_name('away'))
        media.mkdir()
        assert client.get(PRODUCTS).status_code == 500
        media.rmdir()
        away.rename(media)
        assert not DataProduct.objects.filter(thumbnail='').exists()
        assert client.get(PRODUCTS).status_code == 200

    def test_the_list_of_tomtoolkit_shows_the_picture_of_the_new_version(
        self, sky, observed, client, boss, tmp_path, settings
    ):
        """It caches each as long as there is a cache, which generated TOMs keep in a folder."""
        settings.CACHES = {
            'default': {
                'BACKEND': 'django.core.cache.backends.filebased.FileBasedCache',
                'LOCATION': tmp_path / 'cache',
            }
        }
        record = observed(frames=1, pixels=64)
        updatedata()
        drawn(Arrival.objects.get())
        for _ in range(2):
            picture = DataProduct.objects.get().thumbnail.url
            assert picture in client.get(PRODUCTS).content.decode()
            sky.reprocess(sky.frames_of[int(record.observation_id)][0])
            updatedata('--recheck')
            drawn(Arrival.objects.get())

    def test_a_new_version_that_comes_while_the_old_one_is_drawn(self, came, media, monkeypatch):
        old, new = image(), image()
        new[:150] += 1000
        arrival, draw = came('a.fits', in_file(fits.ImageHDU(old))), drawing_program.Program.draw

        def meanwhile(program, path):
            answer = draw(program, path)
            (media / 'a.fits').write_bytes(in_file(fits.ImageHDU(new)))
            DataProduct.objects.update(modified=timezone.now())
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(drawing_program.Program, 'draw', meanwhile)
            assert drawn(arrival).picture == 'waiting'
        assert not DataProduct.objects.get().thumbnail
        got = pixels(drawn(arrival))
        assert got[120:160].mean() > got[40:80].mean() + 100  # the first rows are the lowest

    @pytest.mark.parametrize('error', [Exception('of a store'), ValueError('of its client')])
    def test_a_storage_that_is_away_is_tried_again(self, came, monkeypatch, error):
        def away(*name):
            raise error

        arrival = came('a.fits', FILES['plain.fits']())
        with monkeypatch.context() as patched:
            patched.setattr(FileSystemStorage, 'exists', away)
            assert drawn(arrival).picture == 'waiting'
        after_a_pause()
        assert drawn(arrival).picture == 'drawn'

    def test_a_thumbnail_of_somebody_else_stays(self, came):
        arrival = came('a.fits', FILES['plain.fits']())
        DataProduct.objects.update(thumbnail='mine.jpg')
        drawn(arrival)
        assert arrival.picture == 'drawn'
        assert DataProduct.objects.get().thumbnail.name == 'mine.jpg'

    def test_no_more_are_drawn_than_there_is_time_for(self, came):
        arrivals = [came(f'{n}.fits', FILES['plain.fits']()) for n in range(3)]
        pictures.draw([one.pk for one in arrivals], seconds=-1)
        assert not Arrival.objects.exclude(picture='waiting').exists()

    def test_in_the_background_by_one_thread_of_a_process(self, came, monkeypatch):
        begun = []
        monkeypatch.setattr(pictures.Thread, 'start', lambda thread: begun.append(thread))
        try:
            assert pictures.draw_soon(range(1, 100))
            assert not pictures.draw_soon([1])
        finally:
            pictures._drawing.release()
        [thread] = begun
        assert len(thread._args[0]) == pictures.MOST_AT_ONCE


@pytest.mark.parametrize(
    ('height', 'tile', 'kind', 'off'),
    [
        (1100, (256, 256), 'RICE_1', 2),  # the last band is a short one
        (2100, (16, 2100), 'HCOMPRESS_1', 4),  # a third of it is read
        (5000, (256, 256), 'RICE_1', 9),  # of 20 rows of tiles 12 are read
        (9000, (3000, 3000), 'RICE_1', 2),  # all of it, or there would be no picture
    ],
)
def test_what_is_in_the_middle_is_in_the_middle_of_the_picture(tmp_path, height, tile, kind, off):
    content = image(height, height, 'i2')
    content[height * 45 // 100 : height * 55 // 100] = 3000
    file = tmp_path / 'tiles.fits.fz'
    file.write_bytes(compressed(content, tile, kind))
    lines = picture_of(file).mean(axis=1)
    [bright] = np.where(lines > lines.max() * 0.6)
    assert abs(bright.min() - 90) <= off
    assert abs(bright.max() - 109) <= off


def picture_of(file):
    """The picture that the program makes of a file."""
    answer = subprocess.run(
        [sys.executable, '-I', '-W', 'ignore', str(drawing_program.DRAWING)],
        input=json.dumps({'path': str(file), 'size': (200, 200)}).encode() + b'\n',
        capture_output=True, check=True,
    )  # fmt: skip
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(json.loads(answer.stdout)['jpeg']))))


@pytest.mark.parametrize(
    'bands',
    {
        'padded with zeros': [(0.52, 0, 0), (0.46, 300, 10), (0.02, 500, 10)],
        'mostly padded': [(0.9, 0, 0), (0.07, 300, 10), (0.03, 500, 10)],
        'a slit': [(0.64, 0, 4), (0.33, 150, 12), (0.03, 450, 15)],
        'a short slit': [(0.88, 0, 4), (0.09, 150, 12), (0.03, 450, 15)],
        'a round field': [(0.5, 0, 3), (0.49, 1000, 10), (0.01, 2000, 10)],
        'a long slit': [(0.3, 0, 4), (0.67, 150, 12), (0.03, 450, 15)],
    }.items(),
    ids=lambda bands: bands[0],
)
def test_no_common_frame_is_only_black_and_white(tmp_path, bands):
    """Each band of a share of the rows, a level and a noise is brighter than the one below it."""
    rows = [
        NOISE.normal(level, noise, (int(share * 1000), 500)) for share, level, noise in bands[1]
    ]
    rows[-1][0, 0] = 60_000
    file = tmp_path / 'frame.fits'
    file.write_bytes(in_file(fits.ImageHDU(np.concatenate(rows).astype('f4'))))
    lines, begin, levels = picture_of(file)[::-1, 60:140].astype(int).mean(axis=1), 0, []
    for share, _, _ in bands[1]:
        end = begin + share * 200
        levels.append(lines[round(begin + 0.5) : round(end - 0.5)].mean())
        begin = end
    assert np.diff(levels).min() > 25


@pytest.mark.parametrize(('tile', 'width'), [(1, 400), (64, 4000), (90, 4000)])
def test_a_picture_shows_the_frame_from_its_first_row_to_its_last(tmp_path, tile, width):
    """Of bands of tiles the last five hundred of 8,000 rows were left out."""
    content = image(8000, width, 'i2')
    content[:60], content[-60:] = 3000, 3000
    file = tmp_path / 'tall.fits.fz'
    file.write_bytes(compressed(content, (tile, width)))
    lines = picture_of(file).mean(axis=1)
    assert min(lines[0], lines[-1]) > 1.5 * np.median(lines)


@pytest.mark.parametrize(
    ('kind', 'tile', 'packing'),
    [
        ('i2', None, 'RICE_1'),
        ('i2', (100, 100), 'RICE_1'),
        ('f4', (100, 100), 'GZIP_2'),
        ('i2', (16, 4096), 'HCOMPRESS_1'),
        ('f4', None, 'RICE_1'),
        ('f4', None, 'GZIP_2'),
    ],
)
def test_a_big_compressed_frame_costs_little_cpu_and_memory(tmp_path, kind, tile, packing):
    """Measured in the program itself, as it draws many of a frame of 4096 x 4096 pixels."""
    file, several = tmp_path / 'big.fits.fz', 8
    file.write_bytes(compressed(image(4096, 4096, kind), tile, packing))
    child = subprocess.Popen(
        [sys.executable, '-I', '-W', 'ignore', str(drawing_program.DRAWING)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=drawing_program.ENVIRONMENT,
    )  # fmt: skip

    def drawn(path: Path) -> bool:
        asked = json.dumps({'path': str(path), 'size': (200, 200)})
        child.stdin.write(asked.encode() + b'\n')
        child.stdin.flush()
        return 'jpeg' in json.loads(child.stdout.readline())

    assert not drawn(tmp_path / 'nothing')
    costs = [cpu_seconds(child.pid)]
    for _ in range(several):
        assert drawn(file)
        costs.append(cpu_seconds(child.pid))
    memory = re.search(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{child.pid}/status').read_text())[1]
    child.communicate()
    # The first has more to do. What else runs on this machine only adds to single ones.
    assert within(np.median(np.diff(costs[1:])), CPU), costs
    assert int(memory) * 1024 < MEMORY


def test_a_tile_is_inflated_once(tmp_path):
    """Astropy does so twice for GZIP_2, which takes half as long again."""
    file, count = tmp_path / 'tiles.fits.fz', tmp_path / 'count.py'
    file.write_bytes(compressed(image(300, 400, 'i2'), (100, 100), 'GZIP_2'))
    count.write_text(
        'import gzip, runpy, sys\n'
        'calls, inflate = [], gzip.decompress\n'
        'gzip.decompress = lambda data: (calls.append(1), inflate(data))[1]\n'
        f'runpy.run_path({str(drawing_program.DRAWING)!r}, run_name="__main__")\n'
        'sys.stdout.write(str(len(calls)))\n'
    )
    asked = json.dumps({'path': str(file), 'size': (200, 200)}).encode() + b'\n'
    done = subprocess.run(
        [sys.executable, '-I', '-W', 'ignore', str(count)],
        input=asked, capture_output=True, check=True,
    )  # fmt: skip
    answer, calls = done.stdout.splitlines()
    assert 'jpeg' in json.loads(answer)
    assert int(calls) == 12


def cpu_seconds(pid):
    """What the process has used: the 14th and 15th field of proc(5)."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


@pytest.mark.django_db(transaction=True)
class TestArrivals:
    def test_a_run_notes_each_frame_once_and_a_new_version_is_drawn_anew(self, sky, observed):
        record = observed(frames=2, pixels=64)
        updatedata()
        arrivals = list(Arrival.objects.order_by('pk'))
        assert [(one.facility, one.target_id) for one in arrivals] == [
            ('LCO', record.target_id)
        ] * 2
        first = drawn(*arrivals)
        assert first.picture == 'drawn'
        assert first.facts == ['rp', '60 s', 'level 91']
        assert first.taken
        sky.reprocess(sky.frames_of[int(record.observation_id)][0])
        assert updatedata('--recheck')[1]['saved'] == 1
        assert Arrival.objects.count() == 2
        assert sorted(Arrival.objects.values_list('picture', flat=True)) == ['drawn', 'waiting']

    def test_the_old_picture_goes_only_when_the_row_names_the_new_version(
        self, sky, observed, media, monkeypatch
    ):
        record = observed(frames=1, pixels=64)
        updatedata()
        picture = media / drawn(Arrival.objects.get()).product.thumbnail.name
        sky.reprocess(sky.frames_of[int(record.observation_id)][0])
        with monkeypatch.context() as patched:
            patched.setattr(products, 'note_verified', lambda *found: 1 / 0)
            updatedata('--recheck')
        assert picture.exists()
        assert DataProduct.objects.get().thumbnail
        updatedata('--recheck')
        assert not picture.exists()
        assert not DataProduct.objects.get().thumbnail

    def test_the_hook_gets_the_record_and_all_that_came_for_it(self, observed, settings):
        settings.HOOKS = settings.HOOKS | {'frames_arrived': f'{__name__}.heard_of'}
        heard.clear()
        record = observed(frames=3)
        updatedata()
        updatedata('--recheck')
        [(of, products)] = heard
        assert (of, len(products)) == (record, 3)
        assert of.status == 'COMPLETED'

    def test_the_example_of_the_guide_makes_a_light_curve(
        self, observed, settings, monkeypatch, tmp_path
    ):
        guide = (drawing_program.DRAWING.parent / 'README.md').read_text(encoding='utf-8')
        [code] = re.findall(r'```python\n(from datetime.*?)```', guide, re.DOTALL)
        (tmp_path / 'own_hooks.py').write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        settings.HOOKS = settings.HOOKS | {'frames_arrived': 'own_hooks.frames_arrived'}
        record = observed(frames=3, pixels=64)
        for _ in range(2):
            assert updatedata('--recheck')[0] == 0
            StoredFrame.objects.update(hooks_owed=True)  # or it would not be called again
        points = PhotometryReducedDatum.objects.filter(target=record.target)
        assert points.count() == 3
        assert {point.bandpass for point in points} == {'rp'}
        assert all(-20 < point.brightness < 0 for point in points)

    def test_a_hook_that_fails_is_called_again(self, observed, settings):
        settings.HOOKS = settings.HOOKS | {'frames_arrived': f'{__name__}.fails_once'}
        heard.clear()
        observed(frames=1)
        assert updatedata()[0] == 1
        assert updatedata()[0] == 0
        assert len(heard) == 2
        assert Arrival.objects.count() == 1


heard: list[tuple] = []


def heard_of(record, products):
    """Stands for a user's frames_arrived."""
    heard.append((record, products))


def fails_once(record, products):
    """The same, with a mistake in it that is mended."""
    heard.append((record, products))
    if len(heard) == 1:
        raise RuntimeError('a mistake in the hook')
